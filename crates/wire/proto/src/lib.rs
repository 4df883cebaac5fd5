//! gRPC types of the SPIFFE Workload API, of the agent protocol, of the agent's local API and of Envoy's secret discovery
//! service.
//!
//! The code below `src/generated` is made from `proto/` by `cargo xtask proto` and checked in; a test keeps the two
//! together. Nothing here interprets a message.

pub mod codec;

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

/// What programs of a node ask their agent beside the Workload API.
pub mod local {
    /// Version 1.
    #[allow(clippy::all, rust_2018_idioms, reason = "generated")]
    pub mod v1 {
        include!("generated/local/signet.local.v1.rs");

        /// The encoded `FileDescriptorSet`.
        pub const DESCRIPTOR: &[u8] = include_bytes!("generated/local/descriptor.bin");
    }
}

/// Envoy's secret discovery service, version 3: what of it is sent or read. The modules are nested as the packages are,
/// because generated code finds its neighbours by that.
pub mod sds {
    /// The encoded `FileDescriptorSet`, for server reflection.
    pub const DESCRIPTOR: &[u8] = include_bytes!("generated/envoy/descriptor.bin");

    #[allow(clippy::all, rust_2018_idioms, reason = "generated")]
    pub mod envoy {
        pub mod config {
            pub mod core {
                pub mod v3 {
                    include!("generated/envoy/envoy.config.core.v3.rs");
                }
            }
        }
        pub mod extensions {
            pub mod transport_sockets {
                pub mod tls {
                    pub mod v3 {
                        include!("generated/envoy/envoy.extensions.transport_sockets.tls.v3.rs");
                    }
                }
            }
        }
        pub mod service {
            pub mod discovery {
                pub mod v3 {
                    include!("generated/envoy/envoy.service.discovery.v3.rs");
                }
            }
            pub mod secret {
                pub mod v3 {
                    include!("generated/envoy/envoy.service.secret.v3.rs");
                }
            }
        }
    }

    #[allow(clippy::all, rust_2018_idioms, reason = "generated")]
    pub mod google {
        pub mod rpc {
            include!("generated/envoy/google.rpc.rs");
        }
    }
}
