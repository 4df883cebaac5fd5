//! gRPC types of the SPIFFE Workload API and of the agent protocol.
//!
//! The code below `src/generated` is made from `proto/` by `cargo xtask proto` and checked in; a test keeps the two
//! together. Nothing here interprets a message.

/// The SPIFFE Workload API (SPIFFE_Workload_API.md). Its proto file has no package.
#[allow(clippy::all, rust_2018_idioms, reason = "generated")]
pub mod workload {
    include!("generated/workload/_.rs");

    /// The encoded `FileDescriptorSet`, for server reflection.
    pub const DESCRIPTOR: &[u8] = include_bytes!("generated/workload/descriptor.bin");
}

/// How an agent talks to its server.
pub mod agent {
    /// Version 1.
    #[allow(clippy::all, rust_2018_idioms, reason = "generated")]
    pub mod v1 {
        include!("generated/agent/signet.agent.v1.rs");

        /// The encoded `FileDescriptorSet`.
        pub const DESCRIPTOR: &[u8] = include_bytes!("generated/agent/descriptor.bin");
    }
}
