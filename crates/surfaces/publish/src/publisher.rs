use crate::documents::Documents;
use crate::{CachePolicy, PublicUrl, PublishError};
use arc_swap::ArcSwap;
use signet_fault::{Coded as _, chain};
use signet_keys::Keys;
use std::sync::Arc;
use tracing::error;

/// Keeps the documents up with the keys. Cheap to clone; all clones show the same documents.
#[derive(Clone)]
pub struct Publisher {
    keys: Arc<Keys>,
    url: PublicUrl,
    shown: Arc<ArcSwap<Documents>>,
}

impl Publisher {
    /// Encodes the documents of the keys as they are now, for readers at `url`.
    ///
    /// # Errors
    /// [`PublishError::Keys`], [`PublishError::Bundle`].
    pub fn new(keys: Arc<Keys>, url: PublicUrl) -> Result<Self, PublishError> {
        let shown = Arc::new(ArcSwap::from_pointee(encode(&keys, &url)?));
        Ok(Self { keys, url, shown })
    }

    /// Where readers find the documents.
    #[must_use]
    pub fn url(&self) -> &PublicUrl {
        &self.url
    }

    /// Encodes the documents anew if the trust has changed since; says whether it had.
    ///
    /// # Errors
    /// As [`Publisher::new`]; what was shown is shown on then.
    pub fn refresh(&self) -> Result<bool, PublishError> {
        let now = self.keys.read(|ring| ring.sequence().0);
        if now == self.shown().sequence {
            return Ok(false);
        }
        self.shown.store(Arc::new(encode(&self.keys, &self.url)?));
        Ok(true)
    }

    /// Follows the keys for ever.
    pub async fn keep(self) {
        let mut applied = self.keys.followed().applied();
        // What changed before this task ran must not be missed.
        applied.mark_changed();
        while applied.changed().await.is_ok() {
            if let Err(error) = self.refresh() {
                let code = error.code();
                error!(error = chain(&error), code, "public documents stay as they were");
            }
        }
        core::future::pending().await
    }

    pub(crate) fn shown(&self) -> Arc<Documents> {
        self.shown.load_full()
    }
}

fn encode(keys: &Keys, url: &PublicUrl) -> Result<Documents, PublishError> {
    let bundle = keys.bundle().map_err(PublishError::Keys)?;
    Documents::encode(url, &bundle, CachePolicy::of(keys.config()))
}
