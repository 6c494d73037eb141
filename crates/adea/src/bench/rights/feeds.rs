//! Reading and listening with rights: a feed of what is the reader's own beside the aggregate's, and a
//! change told to who may read it while many others wait.

use super::super::comparison::Comparison;
use super::super::connection::{Connection, Request, Target};
use super::super::error::BenchError;
use super::super::latency::Latencies;
use super::super::listeners::Listeners;
use super::super::phases::{LISTINGS, Run};
use super::{Cost, Lists, ROUNDS, least};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// How many principals the reader of many holds.
const PRINCIPALS: usize = 100;
/// And the reader of few.
const FEW: usize = 3;

/// Who listens, and to which face.
struct Audience<'a> {
    database: &'a str,
    face: &'a str,
    targets: &'a [Arc<Target>],
    count: usize,
}

/// What it cost to tell changes to whom.
struct Told {
    /// To one on `mine`.
    one: Cost,
    /// To listeners of a database without access control.
    plain: Cost,
    /// To as many on `mine`, alone.
    alone: Cost,
    /// To them while others wait.
    among: Cost,
}

impl Run {
    /// What a row of `mine` costs, for who holds many principals and for who holds few.
    pub(in super::super) async fn access_feed(&mut self, count: usize) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        for principals in [PRINCIPALS, FEW] {
            let database = self.make_database("feed", true).await?;
            self.write(&database, 0..count, 1_000, Lists::One(principals))
                .await?;
            let roles: Vec<String> = (0..principals).map(|role| format!("team-{role}")).collect();
            let (reader, _) = self.make_reader(&roles).await?;
            self.settle().await?;
            for query in ["_changes", "_changes?include_docs=true"] {
                let (mut whole, mut mine) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    let path = format!("/{database}/{query}");
                    whole.push(self.read(&self.target, path, count, LISTINGS).await?);
                    let path = format!("/{database}%2Fmine/{query}");
                    mine.push(self.read(&reader, path, count, LISTINGS).await?);
                }
                let rows = count * LISTINGS;
                let (whole, mine) = (least(&whole).each(rows), least(&mine).each(rows));
                let name = format!("mine/{query}, {principals} principals, a row");
                self.comparisons.push(
                    Comparison::alone(name, "CPU µs", mine)
                        .against("the aggregate's, as many rows", whole)
                        .at_most(2.0),
                );
            }
            self.remove_made().await?;
        }
        Ok(())
    }

    /// What a change costs that `entitled` listeners are told, alone and while `others` wait too.
    /// They belong to `readers` accounts on each side.
    pub(in super::super) async fn access_tell(
        &mut self,
        (entitled, others): (usize, usize),
        readers: usize,
        tells: usize,
    ) -> Result<(), BenchError> {
        if !self.has_rights().await? {
            return Ok(());
        }
        let plain = self.make_database("told_plain", false).await?;
        let database = self.make_database("told", true).await?;
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for _ in 0..readers.max(1) {
            inside.push(self.make_reader(&["inside".to_owned()]).await?.0);
            outside.push(self.make_reader(&["outside".to_owned()]).await?.0);
        }
        let mine = |count| Audience {
            database: &database,
            face: "%2Fmine",
            targets: &inside,
            count,
        };
        let whole = Audience {
            database: &plain,
            face: "",
            targets: std::slice::from_ref(&self.target),
            count: entitled,
        };
        let one = self.tell(&mine(1), 0..tells).await?;
        let plain = self.tell(&whole, 0..tells).await?;
        let alone = self.tell(&mine(entitled), tells..2 * tells).await?;
        let before = self.resident_bytes()?;
        let face = format!("{database}%2Fmine");
        let mut waiting = Listeners::open(&outside, &face, others).await?;
        self.settle().await?;
        let after = self.resident_bytes()?;
        let among = self.tell(&mine(entitled), 2 * tells..3 * tells).await?;
        waiting.heard_nothing()?;
        drop(waiting);
        let told = Told {
            one,
            plain,
            alone,
            among,
        };
        self.tell_of_telling(&told, tells, (entitled, others));
        if let Some((before, after)) = before.zip(after) {
            let each = after.saturating_sub(before) as f64 / others.max(1) as f64;
            self.comparisons.push(
                Comparison::alone("memory of a listener waiting on mine", "bytes", each)
                    .against("the most for any listener", 8e3)
                    .at_most(1.0),
            );
        }
        self.remove_made().await
    }

    fn tell_of_telling(&mut self, told: &Told, tells: usize, (entitled, others): (usize, usize)) {
        let count = tells * entitled;
        let all = entitled + others;
        let alone = told.alone.each(count);
        let name = format!("change told to {entitled} of {all} on mine, each told");
        self.comparisons.push(
            Comparison::alone(name, "CPU µs", told.among.each(count))
                .against("the same told to them while no others wait", alone)
                .at_most(1.3),
        );
        let name = format!("change told to {entitled} on mine, each told");
        let plain = told.plain.each(count);
        self.comparisons.push(
            Comparison::alone(name, "CPU µs", alone)
                .against("as many on a database without access control", plain),
        );
        let name = "change written and told to one on mine";
        self.comparisons
            .push(Comparison::alone(name, "CPU µs", told.one.each(tells)));
        for (name, cost) in [("among all", &told.among), ("alone", &told.alone)] {
            if let Some(latency) = cost.latency {
                let name = format!("until the last of {entitled} had heard, {name}, p50");
                let milliseconds = f64::from(latency.p50_us) / 1e3;
                self.comparisons
                    .push(Comparison::alone(name, "ms", milliseconds));
            }
        }
    }

    /// Has an audience wait, and tells it the documents `numbers`.
    async fn tell(
        &self,
        audience: &Audience<'_>,
        numbers: Range<usize>,
    ) -> Result<Cost, BenchError> {
        let (database, count) = (audience.database, audience.count);
        let face = format!("{database}{}", audience.face);
        let mut listeners = Listeners::open(audience.targets, &face, count).await?;
        let mut writer = Connection::open(&self.target, 0).await?;
        let first = Request::new("GET", format!("/{database}"));
        writer.exchange(&first, 200, &mut Vec::new()).await?;
        self.settle().await?;
        self.cost(async move {
            let mut latencies = Latencies::default();
            let mut answer = Vec::new();
            for number in numbers {
                let id = format!("told-{count}-{number}");
                let mut request = Request::new("PUT", format!("/{database}/{id}"));
                request.body = b"{\"access\":[\"inside\",\"leads\",\"user:ann\"]}".to_vec();
                let start = Instant::now();
                writer.exchange(&request, 201, &mut answer).await?;
                let last = listeners.all_hear(&id).await?;
                latencies.record(last.saturating_duration_since(start));
            }
            Ok(latencies)
        })
        .await
    }
}
