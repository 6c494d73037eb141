//! Rights at scale: little of very much, many access lists on disk, and what was done before there
//! were partitions.

use super::super::comparison::Comparison;
use super::super::connection::{Connection, Request, Target};
use super::super::error::BenchError;
use super::super::latency::Latencies;
use super::super::phases::{COMPACTION_POLL, Run};
use super::super::process::{ProcessTree, disk_bytes};
use super::{Cost, Lists, ROUNDS, least};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// So many documents has the reader of few.
const FEW: usize = 10;
/// His feed is read so often.
const FEW_READS: usize = 200;
/// How many partial databases there are, of how many documents each.
const PARTS: usize = 50;
const PART_DOCUMENTS: usize = 100;
/// How many documents come later, to see what it costs to keep up.
const KEPT_UP: usize = 100;
/// What was done before there were partitions.
const BY_COPIES: &str = "a filtered replication for each of the 50 lists";
const WITHOUT: &str = "the same without access control";

impl Run {
    /// A feed of ten documents among `count`.
    pub(in super::super) async fn access_scale(&mut self, count: usize) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        let (lists, each) = ((count / 100).max(1), (count / FEW).max(1));
        let small = self.make_database("small", true).await?;
        self.write(&small, 0..FEW, 1_000, Lists::Same("few"))
            .await?;
        let large = self.make_database("large", true).await?;
        let few_lists = Lists::Few { lists, each };
        let written = self.write(&large, 0..count, 1_000, few_lists).await?;
        let found = count.div_ceil(each);
        let (few, _) = self.make_reader(&["few".to_owned()]).await?;
        let (all, _) = self.make_reader(&["all".to_owned()]).await?;
        self.comparisons.push(Comparison::alone(
            format!("_bulk_docs of {count} with {lists} lists, a document"),
            "CPU µs",
            written.each(count),
        ));
        let (mut of_small, mut of_large, mut bytes) = (Vec::new(), Vec::new(), u64::MAX);
        for _ in 0..ROUNDS {
            let path = format!("/{small}%2Fmine/_changes?include_docs=true");
            of_small.push(self.read(&few, path, FEW, FEW_READS).await?);
            let before = self.bytes_read()?;
            let path = format!("/{large}%2Fmine/_changes?include_docs=true");
            of_large.push(self.read(&few, path, found, FEW_READS).await?);
            let read = self.bytes_read()?.saturating_sub(before);
            bytes = bytes.min(read / FEW_READS as u64);
        }
        let (of_small, of_large) = (least(&of_small), least(&of_large));
        self.comparisons.push(
            Comparison::alone(
                format!("mine/_changes of {found} among {count}, a request"),
                "CPU µs",
                of_large.each(FEW_READS),
            )
            .against("a database with no others", of_small.each(FEW_READS))
            .at_most(2.0),
        );
        self.read_all(&large, &all, (count, found), bytes).await?;
        self.remove_made().await
    }

    /// Who reads all of it, for comparison.
    async fn read_all(
        &mut self,
        large: &str,
        all: &Arc<Target>,
        (count, found): (usize, usize),
        few_bytes: u64,
    ) -> Result<(), BenchError> {
        let rows = count - found;
        let before = self.bytes_read()?;
        let path = format!("/{large}%2Fmine/_changes?include_docs=true");
        let mine = self.read(all, path, rows, 1).await?;
        // The first of the two readings is not measured, but it reads.
        let bytes = self.bytes_read()?.saturating_sub(before) / 2;
        let path = format!("/{large}/_changes?include_docs=true");
        let whole = self.read(&self.target, path, count, 1).await?;
        self.comparisons.push(
            Comparison::alone(
                format!("mine/_changes of {rows} with documents, one role, a row"),
                "CPU µs",
                mine.each(rows),
            )
            .against("the aggregate's, a row", whole.each(count))
            .at_most(2.0),
        );
        self.comparisons.push(
            Comparison::alone(
                format!("bytes read for {found} among {count}"),
                "bytes",
                few_bytes as f64,
            )
            .against("bytes read for all of them", bytes as f64),
        );
        Ok(())
    }

    /// What `lists` access lists take on disk with `count` documents.
    pub(in super::super) async fn access_disk(
        &mut self,
        count: usize,
        lists: usize,
        data: Option<&Path>,
    ) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        let mut taken = Vec::new();
        for rights in [false, true] {
            let database = self.make_database("disk", rights).await?;
            let (_, empty) = self.compacted(&database, data).await?;
            self.write(&database, 0..count, 1_000, Lists::Three(lists))
                .await?;
            let (told, full) = self.compacted(&database, data).await?;
            let grown = full.zip(empty);
            taken.push((told, grown.map(|(full, empty)| full.saturating_sub(empty))));
        }
        if let [without, with] = taken.as_slice() {
            let name = |by| format!("disk of a document, {count} with {lists} lists, {by}");
            let each = |bytes: u64| bytes as f64 / count.max(1) as f64;
            self.comparisons.push(
                Comparison::alone(name("told"), "bytes", each(with.0))
                    .against(WITHOUT, each(without.0))
                    .at_most(1.3),
            );
            if let Some((with, without)) = with.1.zip(without.1) {
                self.comparisons.push(
                    Comparison::alone(name("du"), "bytes", each(with))
                        .against(WITHOUT, each(without))
                        .at_most(1.3),
                );
            }
        }
        self.remove_made().await
    }

    /// Compacts a database; what it takes, as the server says and as the disk says.
    async fn compacted(
        &self,
        database: &str,
        data: Option<&Path>,
    ) -> Result<(u64, Option<u64>), BenchError> {
        let start = Request::new("POST", format!("/{database}/_compact"));
        self.ask_once(&start, 202).await?;
        let path = format!("/{database}");
        let info = loop {
            tokio::time::sleep(COMPACTION_POLL).await;
            let info = self.document(&path).await?;
            if info.get("compact_running") != Some(&Value::Bool(true)) {
                break info;
            }
        };
        self.settle().await?;
        let told = info.pointer("/sizes/file").and_then(Value::as_u64);
        Ok((told.unwrap_or(0), data.map(disk_bytes).transpose()?))
    }

    /// A partial database for each access list, filled by filtered replications, beside partitions.
    pub(in super::super) async fn access_copies(
        &mut self,
        url: &str,
        data: Option<&Path>,
    ) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        let count = PARTS * PART_DOCUMENTS;
        let lists = Lists::One(PARTS);
        let copied = self.make_database("copied", false).await?;
        let parted = self.make_database("parted", true).await?;
        let mut parts = Vec::new();
        for _ in 0..PARTS {
            parts.push(self.make_database("part", false).await?);
        }
        let (_, empty) = self.compacted(&copied, data).await?;
        let mut by_copies = Vec::new();
        let mut by_lists = Vec::new();
        let mut disk = Vec::new();
        for range in [0..count, count..count + KEPT_UP] {
            let written = range.len();
            let whole = self.write(&copied, range.clone(), 1_000, lists).await?;
            let copies = self.replicate_parts(url, &copied, &parts).await?;
            by_copies.push(whole.each(written) + copies.each(written));
            disk.push(self.compacted(&copied, data).await?.1);
            let partitions = self.write(&parted, range, 1_000, lists).await?;
            by_lists.push(partitions.each(written));
            disk.push(self.compacted(&parted, data).await?.1);
        }
        for (name, (by_lists, by_copies)) in ["5,000 documents under 50 lists", "100 more of them"]
            .into_iter()
            .zip(by_lists.into_iter().zip(by_copies))
        {
            self.comparisons.push(
                Comparison::alone(format!("{name}, a document"), "CPU µs", by_lists)
                    .against(BY_COPIES, by_copies),
            );
        }
        if let (Some(empty), [Some(copied), Some(parted), ..]) = (empty, disk.as_slice()) {
            let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / count as f64;
            self.comparisons.push(
                Comparison::alone("disk of a document, du", "bytes", each(*copied, *parted))
                    .against(BY_COPIES, each(empty, *copied)),
            );
        }
        self.remove_made().await
    }

    async fn replicate_parts(
        &self,
        url: &str,
        source: &str,
        parts: &[String],
    ) -> Result<Cost, BenchError> {
        let url = url.strip_suffix('/').unwrap_or(url);
        let mut connection = Connection::open(&self.target, 0).await?;
        self.cost(async move {
            let mut answer = Vec::new();
            for (part, target) in parts.iter().enumerate() {
                let mut request = Request::new("POST", "/_replicate");
                let role = format!("team-{part}");
                request.body = json!({
                    "source": format!("{url}/{source}"),
                    "target": format!("{url}/{target}"),
                    "selector": {"access": {"$elemMatch": {"$eq": role}}},
                })
                .to_string()
                .into_bytes();
                connection.exchange(&request, 200, &mut answer).await?;
            }
            Ok(Latencies::default())
        })
        .await
    }

    fn bytes_read(&self) -> Result<u64, BenchError> {
        self.server.as_ref().map_or(Ok(0), ProcessTree::bytes_read)
    }
}
