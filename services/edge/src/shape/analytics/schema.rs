//! What can be asked.

use colloquy_proto::analytics::v1 as pb;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shape::word;

/// What can be asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct AnalyticsSchema {
    /// What can be computed.
    measures: Vec<SchemaField>,
    /// What it can be computed by.
    dimensions: Vec<SchemaField>,
}

/// A measure or dimension.
#[derive(Serialize, ToSchema)]
pub(crate) struct SchemaField {
    /// Its name in requests.
    name: String,
    /// What it means, with its unit.
    description: String,
    /// What its values are.
    kind: String,
    /// The operations a measure has.
    ops: Vec<String>,
    /// Every value there may be, where there are few.
    values: Vec<String>,
    /// Its name in `filter=`; `null` when it cannot be filtered by.
    filter_name: Option<String>,
}

impl From<pb::GetAnalyticsSchemaResponse> for AnalyticsSchema {
    fn from(given: pb::GetAnalyticsSchemaResponse) -> Self {
        let field = |given: pb::SchemaField| SchemaField {
            name: given.name,
            description: given.description,
            kind: given.kind,
            ops: given.ops,
            values: given.values,
            filter_name: word(given.filter_name),
        };
        Self {
            measures: given.measures.into_iter().map(field).collect(),
            dimensions: given.dimensions.into_iter().map(field).collect(),
        }
    }
}
