//! The engine that serves: RocksDB, tuned for small memory and few bytes on disk.
//!
//! Two column families under one write-ahead log: *index* for small keys that are looked up
//! (Bloom filters, small blocks) and *body* for values written in the order of their sequence,
//! which compaction then moves as whole files instead of rewriting. The newest data is lightly
//! compressed, the oldest level well.

mod log_tail;

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBRawIteratorWithThreadMode, DBRecoveryMode,
    DataBlockIndexType, FlushOptions, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch,
    WriteOptions,
};

use super::{Cursor, Direction, Engine, EngineError, KeyRange, Row, Space, View};
use crate::commit::Op;

const INDEX: &str = "default";
const BODY: &str = "body";

/// How much the engine may take.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// Bytes for caches and for what is not flushed yet, together.
    pub memory: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { memory: 64 << 20 }
    }
}

/// RocksDB behind the trait.
pub struct Disk {
    db: DB,
}

impl From<rocksdb::Error> for EngineError {
    fn from(error: rocksdb::Error) -> Self {
        if error.kind() == rocksdb::ErrorKind::Corruption {
            Self::Corrupt(error.into_string())
        } else {
            Self::Failed(error.into_string())
        }
    }
}

impl Disk {
    /// Opens the directory `path`, making it if it does not exist.
    ///
    /// # Errors
    /// [`EngineError`] if the files are damaged or the system refuses.
    pub fn open(path: &Path, options: DiskOptions) -> Result<Self, EngineError> {
        log_tail::mend(path).map_err(|error| EngineError::Failed(format!("log: {error}")))?;
        let cache = Cache::new_lru_cache(options.memory / 2);
        let families = [
            ColumnFamilyDescriptor::new(INDEX, index_options(&cache, options)),
            ColumnFamilyDescriptor::new(BODY, body_options(&cache, options)),
        ];
        let db = DB::open_cf_descriptors(&database_options(options), path, families)?;
        Ok(Self { db })
    }

    fn family(&self, space: Space) -> Result<&ColumnFamily, EngineError> {
        let name = match space {
            Space::Index => INDEX,
            Space::Body => BODY,
        };
        self.db
            .cf_handle(name)
            .ok_or_else(|| EngineError::Corrupt(format!("column family {name} is missing")))
    }
}

fn database_options(options: DiskOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_db_write_buffer_size(options.memory / 2);
    db.set_max_total_wal_size((options.memory as u64).max(64 << 20));
    db.set_bytes_per_sync(1 << 20);
    db.set_max_background_jobs(2);
    db.set_max_open_files(256);
    db.set_keep_log_file_num(2);
    db.set_max_log_file_size(1 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    // One thread writes: what lets many do so only costs.
    db.set_allow_concurrent_memtable_write(false);
    db.set_enable_write_thread_adaptive_yield(false);
    db
}

fn table_options(cache: &Cache, block_size: usize) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(block_size);
    table.set_format_version(6);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

fn family_options(options: DiskOptions) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size((options.memory / 4).clamp(4 << 20, 64 << 20));
    family.set_max_write_buffer_number(3);
    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_bottommost_compression_type(DBCompressionType::Zstd);
    family.set_target_file_size_base(16 << 20);
    family
}

fn index_options(cache: &Cache, options: DiskOptions) -> Options {
    let mut table = table_options(cache, 4 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut family = family_options(options);
    family.set_block_based_table_factory(&table);
    // Most lookups of a bulk load are for ids that are not there: ask the memtable's filter
    // before walking its list.
    family.set_memtable_prefix_bloom_ratio(0.05);
    family.set_memtable_whole_key_filtering(true);
    family
}

fn body_options(cache: &Cache, options: DiskOptions) -> Options {
    let mut table = table_options(cache, 8 << 10);
    table.set_bloom_filter(10.0, false);
    let mut family = family_options(options);
    family.set_block_based_table_factory(&table);
    family
}

/// Reads either the newest data or one snapshot.
struct DiskView<'d> {
    disk: &'d Disk,
    snapshot: Option<SnapshotWithThreadMode<'d, DB>>,
    point: ReadOptions,
}

impl DiskView<'_> {
    fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }
}

impl View for DiskView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let family = self.disk.family(space)?;
        let found = self.disk.db.get_pinned_cf_opt(family, key, &self.point)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn multi_get(
        &self,
        space: Space,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        let family = self.disk.family(space)?;
        let sorted = keys.is_sorted();
        self.disk
            .db
            .batched_multi_get_cf_opt(family, keys, sorted, &self.point)
            .into_iter()
            .map(|found| Ok(found?.map(|value| value.to_vec())))
            .collect()
    }

    fn range(
        &self,
        space: Space,
        range: KeyRange,
        direction: Direction,
    ) -> Result<Box<dyn Cursor + '_>, EngineError> {
        let family = self.disk.family(space)?;
        let empty = range.from >= range.to;
        let mut options = self.read_options();
        options.set_iterate_lower_bound(range.from);
        options.set_iterate_upper_bound(range.to);
        let mut iterator = self.disk.db.raw_iterator_cf_opt(family, options);
        match (empty, direction) {
            (true, _) => {}
            (false, Direction::Forward) => iterator.seek_to_first(),
            (false, Direction::Reverse) => iterator.seek_to_last(),
        }
        Ok(Box::new(DiskCursor {
            iterator,
            direction,
            started: false,
            empty,
        }))
    }
}

struct DiskCursor<'v> {
    iterator: DBRawIteratorWithThreadMode<'v, DB>,
    direction: Direction,
    started: bool,
    empty: bool,
}

impl Cursor for DiskCursor<'_> {
    fn next(&mut self) -> Result<Option<Row<'_>>, EngineError> {
        if self.empty {
            return Ok(None);
        }
        if self.started && self.iterator.valid() {
            match self.direction {
                Direction::Forward => self.iterator.next(),
                Direction::Reverse => self.iterator.prev(),
            }
        }
        self.started = true;
        if self.iterator.valid() {
            Ok(self.iterator.item())
        } else {
            self.iterator.status()?;
            Ok(None)
        }
    }

    fn seek(&mut self, key: &[u8]) -> Result<(), EngineError> {
        match (self.empty, self.direction) {
            (true, _) => {}
            (false, Direction::Forward) => self.iterator.seek(key),
            (false, Direction::Reverse) => self.iterator.seek_for_prev(key),
        }
        self.started = false;
        Ok(())
    }
}

impl Engine for Disk {
    fn view(&self) -> Box<dyn View + '_> {
        let snapshot = self.db.snapshot();
        let mut point = ReadOptions::default();
        point.set_snapshot(&snapshot);
        Box::new(DiskView {
            disk: self,
            snapshot: Some(snapshot),
            point,
        })
    }

    fn latest(&self) -> Box<dyn View + '_> {
        Box::new(DiskView {
            disk: self,
            snapshot: None,
            point: ReadOptions::default(),
        })
    }

    fn apply(&self, ops: &[&Op], sync: bool) -> Result<(), EngineError> {
        let (index, body) = (self.family(Space::Index)?, self.family(Space::Body)?);
        let family = |space: Space| match space {
            Space::Index => index,
            Space::Body => body,
        };
        let size: usize = ops.iter().map(|op| op.size() + 16).sum();
        let mut batch = WriteBatch::with_capacity_bytes(size);
        for op in ops {
            match op {
                Op::Put { space, key, value } => batch.put_cf(family(*space), key, value),
                Op::Delete { space, key } => batch.delete_cf(family(*space), key),
                Op::DeleteRange { space, range } if range.from < range.to => {
                    batch.delete_range_cf(family(*space), &range.from, &range.to);
                }
                Op::DeleteRange { .. } => {}
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(self.db.flush_wal(true)?)
    }

    fn checkpoint(&self, to: &Path) -> Result<(), EngineError> {
        Ok(rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(to)?)
    }

    fn compact(&self, space: Space, range: &KeyRange) -> Result<(), EngineError> {
        let family = self.family(space)?;
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_cf_opt(family, &flush)?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        options.set_exclusive_manual_compaction(false);
        self.db
            .compact_range_cf_opt(family, Some(&range.from), Some(&range.to), &options);
        Ok(())
    }

    fn disk_size(&self, space: Space, range: &KeyRange) -> u64 {
        self.family(space).map_or(0, |family| {
            let whole = rocksdb::Range::new(&range.from, &range.to);
            self.db
                .get_approximate_sizes_cf(family, &[whole])
                .into_iter()
                .sum()
        })
    }
}
