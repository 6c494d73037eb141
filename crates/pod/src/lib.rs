//! Every use case, one file each: the order of its steps, its one commit, and what follows it.
//!
//! This is the only crate that knows all of the floor below. It holds no rule of its own: what a
//! document is, who may enter and where bytes lie is decided there; what a request looks like is
//! decided above.

mod access;
mod admins;
mod apps;
mod audit;
mod auth_settings;
mod auto_purge;
mod background;
mod backup;
mod begin_session;
mod configuration;
mod counts;
mod database_updates;
mod databases;
mod design_function;
mod directory;
mod error;
mod factors;
mod find;
mod follow_changes;
mod indexing;
mod limits;
mod links;
mod local_names;
mod mail;
mod maintain;
mod organisations;
mod partition;
mod peruser;
mod pod;
mod providers;
mod read_document;
mod replicate;
mod settings;
mod sign_in;
mod sign_up_inbox;
mod store_file;
mod strengthen_password;
mod time_sequence;
mod token_sign_in;
mod validate;
mod verify;
mod views;
mod write_document;
mod write_user;

pub use access::{
    AccessError, AccessState, Partition, PartitionPage, RebuildProgress, Stood, Stretch, Why,
    WhySource, WriteRefused,
};
pub use admins::FirstAdmin;
pub use apps::{Actor, AppChange, AppError};
pub use auth_settings::{
    AuthSettings, CookieSettings, Network, PerUserSettings, Strangers, TokenSettings, UsersSettings,
};
pub use backup::{BackupError, BackupReport, restore};
pub use begin_session::{
    Begun, Credentials, Face, Proof, SessionError, SessionPage, SessionWanted, Standing,
};
pub use configuration::{InvalidSetting, SettingScope};
pub use database_updates::{DatabaseUpdate, DatabaseUpdates, UpdateKind};
pub use databases::{DatabaseEntry, DatabaseFace, DatabaseInfo};
pub use design_function::DesignFunctions;
pub use directory::{
    ADDRESSES_MAX, AccountChange, AccountError, AccountGiven, AccountsAsked, AccountsPage,
    AddressProof, Holder, IMPORT_MAX, NewAccount, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN,
    PROFILE_BYTES_MAX, PROFILE_DEPTH_MAX, ProfileChange, SignUp, SignUpNext,
};
pub use error::PodError;
pub use factors::{Asking, FactorError, NewTotp, PasskeyChallenge, SecondAnswer, ShownPasskey};
pub use find::{
    Aggregate, AggregateQuery, Aggregated, COLUMNS_MAX, Candidate, Explained, FindError, FindPage,
    FindPlan, FindQuery, FindStatistics, FindWalk, GROUPS_MAX, Group, MadeIndex, MangoIndex,
    NewIndex, Reach, Reason, primary_index_json,
};
pub use follow_changes::{
    Batch, ChangeRow, ChangesRange, Course, Marks, Named, Part, RowDocument, ShownChange,
};
pub use indexing::IndexTask;
pub use limits::LimitKind;
pub use links::{LinkError, MailProof, MailStarted, MailWanted, Promoted, Promoting};
pub use mail::{LinkKind, MailError, MailPage, MailPreview, MailTemplates};
pub use maintain::CompactionProgress;
pub use organisations::{OrganisationError, Placing, WhichInvitations, WhichOrganisations};
pub use partition::{InvalidPartitionedId, check_partition};
pub use pod::{Identity, OpenError, Pod, PodOptions, ScriptSettings};
pub use providers::{Finished, LinkedIdentity, ProviderError, Returned, Started};
pub use read_document::{Found, ListPortion, ListedDocument, Told, Which};
pub use replicate::{
    JobEvent, JobState, Replicated, ReplicationDocument, ReplicationJob, ReplicationOptions,
    may_search,
};
pub use settings::*;
pub use sign_in::{SignIn, SignedIn};
pub use sign_up_inbox::SIGN_UP_TYPE;
pub use store_file::StoredFile;
pub use token_sign_in::FetchJson;
pub use verify::Report;
pub use views::{
    Design, DesignInfo, DesignView, GroupRow, Grouping, Language, Overflow, Update, ViewAsk,
    ViewCursor, ViewHead, ViewMoment, ViewQuery, ViewRow, Written,
};
pub use write_document::{DraftedEdit, Outcome, Prepared, content_type_of, encoding_of};
pub use write_user::may_list_users;
