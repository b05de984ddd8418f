//! Why a call failed, on the lines of calls that did.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::diagnosis::{Cause, Causes, Certainty, Reason, Retry};

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

/// What a reader knows, or something of a later version.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told<T> {
    Known(T),
    Later(IgnoredAny),
}

impl<T> Told<T> {
    fn known(self) -> Option<T> {
        match self {
            Told::Known(known) => Some(known),
            Told::Later(_) => None,
        }
    }
}

/// Causes, without those of a later version: the line says what happened without them.
pub(super) fn known_causes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<CauseLine<'static>>, D::Error> {
    let told = Vec::<Told<CauseLine<'static>>>::deserialize(deserializer)?;
    Ok(told.into_iter().filter_map(Told::known).collect())
}

/// What is made good, if the reader knows it.
pub(super) fn known_retry<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Retry>, D::Error> {
    let told = Option::<Told<Retry>>::deserialize(deserializer)?;
    Ok(told.and_then(Told::known))
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
