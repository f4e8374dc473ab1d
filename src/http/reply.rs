//! An answer, before it becomes HTTP.

use bytes::Bytes;

use crate::metrics::RequestLabels;

#[derive(Debug)]
pub(crate) struct Reply {
    /// The path of the route, or `other`: for the request counter.
    pub(crate) path: &'static str,
    pub(crate) code: u16,
    /// What follows the head.
    pub(crate) body: Body,
}

impl Reply {
    pub(crate) fn labels(&self) -> RequestLabels {
        (self.path, self.code)
    }
}

/// What follows the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// `text/plain; charset=utf-8`
    Text(Bytes),
    /// `application/health+json`
    Health(Bytes),
    /// `text/html; charset=utf-8`
    Page(Bytes),
    /// `text/plain; version=0.0.4; charset=utf-8`: the metrics at the time when it is sent.
    Metrics,
}

impl Body {
    /// A text that never changes.
    pub(crate) const fn fixed(text: &'static str) -> Body {
        Body::Text(Bytes::from_static(text.as_bytes()))
    }

    /// A text made for this answer.
    pub(crate) fn text(text: String) -> Body {
        Body::Text(text.into())
    }

    /// The bytes; `None` for the metrics, which are made later.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Body::Text(bytes) | Body::Health(bytes) | Body::Page(bytes) => Some(bytes),
            Body::Metrics => None,
        }
    }
}
