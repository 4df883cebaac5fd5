use signet_fault::{Coded, Entry, remedy_of};
use signet_keys::KeysError;
use signet_net::NetError;
use signet_trust::TrustError;
use std::borrow::Cow;

/// Why a document was not made or not given.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Nothing is published at the path.
    #[error("nothing is published at this path")]
    NoRoute,
    /// Documents are read and nothing else.
    #[error("`{method}` is not a method of this path")]
    Method {
        /// The method, cut to a readable length.
        method: String,
    },
    /// A request with a body.
    #[error("requests for documents have no body")]
    Body,
    /// Path and header fields are more than is taken.
    #[error(transparent)]
    Head(#[from] NetError),
    /// The keys could not be put into a bundle. Ours.
    #[error("publish keys")]
    Keys(#[source] KeysError),
    /// The bundle could not be written. Ours.
    #[error("write bundle")]
    Bundle(#[source] TrustError),
}

macro_rules! register {
    ($($code:literal $meaning:literal $remedy:literal)*) => {
        /// The codes of this crate.
        pub const REGISTER: &[Entry] = &[$(Entry { code: $code, meaning: $meaning, remedy: $remedy }),*];
    };
}

register! {
    "SGPB001" "public port: nothing at this path" "see docs/publish.md for what is published; administration is at api.sock"
    "SGPB002" "public port: no such method" "use one of the methods that the `allow` header names"
    "SGPB003" "public port: body not wanted" "send the request without a body"
    "SGPB004" "bundle: cannot be written" "report this with the message: it is a defect in Signet"
}

impl Coded for PublishError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoRoute => "SGPB001",
            Self::Method { .. } => "SGPB002",
            Self::Body => "SGPB003",
            Self::Bundle(_) => "SGPB004",
            Self::Head(error) => error.code(),
            Self::Keys(error) => error.code(),
        }
    }

    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Keys(error) => error.remedy(),
            Self::Head(error) => error.remedy(),
            _ => remedy_of(REGISTER, self.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_register_stands() {
        assert_eq!(signet_fault::flaws(&[super::REGISTER]), []);
    }
}
