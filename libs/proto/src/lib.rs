//! The generated messages, clients and servers of every Colloquy service, and their descriptors for reflection.
//!
//! The sources are in `proto/`; the modules here mirror its packages. Generated types are the wire's, not the domain's: they
//! stop at each crate's `convert.rs`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated from proto/, where every item is commented"
)]

/// Every file of `proto/` and what it imports, encoded, with comments: what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod access {
    pub mod v1 {
        tonic::include_proto!("colloquy.access.v1");
    }
}

/// Not served yet: the contract its service will keep.
pub mod analytics {
    pub mod v1 {
        tonic::include_proto!("colloquy.analytics.v1");
    }
}

pub mod control {
    pub mod v1 {
        tonic::include_proto!("colloquy.control.v1");
    }
}

pub mod conversation {
    pub mod v1 {
        tonic::include_proto!("colloquy.conversation.v1");
    }
}

pub mod ingestion {
    pub mod v1 {
        tonic::include_proto!("colloquy.ingestion.v1");
    }
}

pub mod log {
    pub mod v1 {
        tonic::include_proto!("colloquy.log.v1");
    }
}

pub mod notification {
    pub mod v1 {
        tonic::include_proto!("colloquy.notification.v1");
    }
}

pub mod transcript {
    pub mod v1 {
        tonic::include_proto!("colloquy.transcript.v1");
    }
}
