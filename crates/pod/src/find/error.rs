//! Why a query or an index was refused, in `CouchDB`'s words where it has some.

/// Why a query or an index was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nothing gives this order.
    #[error("No {}index exists for this sort, try indexing by the sort fields.", .0.adjective())]
    NoSortIndex(Reach),
    /// The index that must be used cannot be.
    #[error("{}", unsuitable(.0))]
    UnsuitableIndex(Vec<String>),
    /// Not a bookmark of this query.
    #[error("Invalid bookmark value: {0}")]
    InvalidBookmark(String),
    /// A document that would take too long to try.
    #[error("The selector is too expensive for a document of this database.")]
    TooExpensive,
    /// Not a name that an index or its design document can have.
    #[error("Invalid index name: {0}")]
    InvalidIndexName(String),
    /// The design document is there, and of another language.
    #[error("Existing design doc has an invalid language: {0}")]
    InvalidLanguage(String),
    /// The design document is there, and parted otherwise.
    #[error("Requested partitioned option does not match existing value on design document {0}")]
    PartitionedMismatch(String),
    /// Others change the design document all the time.
    #[error("Encountered a conflict while saving the design document.")]
    SavingConflict,
    /// More groups than are kept at once.
    #[error(
        "The documents fall into more than {0} groups: group by fewer fields, or narrow the selector."
    )]
    TooManyGroups(usize),
    /// The groups are larger than is kept at once.
    #[error("The groups are too large to be kept: group by shorter fields.")]
    GroupsTooLarge,
}

/// Which indexes were looked at for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All.
    Database,
    /// Those of a partitioned database that are not parted.
    Global,
    /// Those that are parted.
    Partition,
}

impl Reach {
    fn adjective(self) -> &'static str {
        match self {
            Self::Database => "",
            Self::Global => "global ",
            Self::Partition => "partitioned ",
        }
    }
}

fn unsuitable(named: &[String]) -> String {
    let name = |design: &String| design.strip_prefix("_design/").unwrap_or(design).to_owned();
    match named {
        [] => "You must specify an index with the `use_index` parameter.".to_owned(),
        [design] => format!(
            "_design/{} specified by `use_index` could not be found or it is not suitable.",
            name(design)
        ),
        [design, index, ..] => format!(
            "_design/{}, {index} specified by `use_index` could not be found or it is not suitable.",
            name(design)
        ),
    }
}
