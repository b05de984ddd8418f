//! Why a call failed, on the lines of calls that did.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Cause, Causes, Certainty, Reason};

/// What may have made a call fail.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CauseLine<'a> {
    /// How certain that is.
    pub certainty: Certainty,
    /// It in words (derived).
    #[serde(skip_deserializing)]
    pub text: String,
    /// It, with the figures that decide.
    pub reason: Cow<'a, Reason>,
}

/// Causes as they are written.
pub(in crate::log) fn written(why: &[Cause]) -> Vec<CauseLine<'_>> {
    why.iter()
        .map(|cause| CauseLine {
            certainty: cause.certainty,
            text: cause.reason.to_string(),
            reason: Cow::Borrowed(&cause.reason),
        })
        .collect()
}

/// Causes as they are read.
pub(in crate::log) fn read(why: Vec<CauseLine<'_>>) -> Causes {
    why.into_iter()
        .map(|cause| Cause {
            certainty: cause.certainty,
            reason: cause.reason.into_owned(),
        })
        .collect()
}
