//! Generates messages, clients and servers from `proto/` with protox, so that no protoc is needed.

use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

/// Messages of which there are thousands in an answer, whose maps have an entry or two: hashing took longer than all else.
const SMALL_MAPS: [&str; 2] = [".colloquy.analytics.v1.Row", ".colloquy.analytics.v1.Value"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As it runs, not as it was compiled: a target folder may be shared with another checkout.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = proto_files(&root)?;

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut files = compiler.file_descriptor_set();
    hand_records_on_as_bytes(&mut files)?;
    let mut configured = tonic_prost_build::configure().bytes(".");
    for small in SMALL_MAPS {
        configured = configured.btree_map(small);
    }
    configured.compile_fds(files)?;
    Ok(())
}

/// Generates `ConsumeResponse.records` as bytes, which are the same on the wire as the messages they hold.
///
/// The log hands records on without decoding them, so that what a newer release put into one reaches a newer reader through an
/// older log, and a reader can keep what it does not know. A decoded message would have lost it.
fn hand_records_on_as_bytes(files: &mut FileDescriptorSet) -> Result<(), Box<dyn std::error::Error>> {
    let log = files.file.iter_mut().filter(|file| file.package() == "colloquy.log.v1");
    let response = log.flat_map(|file| &mut file.message_type).find(|message| message.name() == "ConsumeResponse");
    let response = response.ok_or("no response")?;
    let records = response.field.iter_mut().find(|field| field.name() == "records").ok_or("no records")?;
    records.set_type(Type::Bytes);
    records.type_name = None;
    Ok(())
}

fn proto_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
