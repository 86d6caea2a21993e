//! What every store needs, and nothing of what it keeps: opening databases, bringing them up to date, telling driver errors
//! apart, statements for both engines, page tokens, and encryption at rest.

mod database;
pub mod engine;
mod error;
mod observe;
mod page_token;
mod postgres;
mod seal;
mod sqlite;

pub use database::{Database, DatabaseUrl, Migrations};
pub use error::StoreError;
pub use page_token::{BadPageToken, PageTokens};
pub use seal::{MasterKey, SealError, Sealer};
pub use sqlite::{Durability, Sqlite};
pub use sqlx::PgPool;
