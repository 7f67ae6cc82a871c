//! Labels, as few as can be.

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

/// The name of every task that no module implements.
pub(super) const UNKNOWN: &str = "unknown";

/// Names and values of one series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Labels(Vec<(&'static str, String)>);

impl Labels {
    pub(super) fn of<const N: usize>(labels: [(&'static str, &str); N]) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}
