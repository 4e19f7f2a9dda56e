//! The answer that the edge gives by itself.

use bytes::Bytes;

use crate::protocol::Frame;
use crate::storage::Seq;

/// A text, and the text that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AutoResponse {
    pub(crate) request: Bytes,
    pub(crate) response: Bytes,
    /// The write set of the turn that set it: no answer leaves before that is durable.
    pub(crate) seq: Seq,
}

/// What a turn does to the automatic response.
#[derive(Debug, Clone)]
pub(crate) enum ResponseChange {
    /// This text is answered with that.
    Set(Bytes, Bytes),
    /// There is none.
    Unset,
}

impl ResponseChange {
    /// What it comes to, once the turn has its write set.
    pub(crate) fn made_by(self, seq: Seq) -> Option<AutoResponse> {
        match self {
            Self::Set(request, response) => Some(AutoResponse { request, response, seq }),
            Self::Unset => None,
        }
    }
}

impl AutoResponse {
    /// The answer to a frame, if it has one.
    pub(crate) fn to(&self, frame: &Frame) -> Option<Frame> {
        match frame {
            Frame::Text(text) if *text == self.request => Some(Frame::Text(self.response.clone())),
            Frame::Text(_) | Frame::Binary(_) => None,
        }
    }
}
