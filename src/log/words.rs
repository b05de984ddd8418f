//! Fields with a set of words. A later version may write another word into any of
//! them: a line with one is an event of that version, not a line that is broken.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::IntoDeserializer;
use serde::de::value::{CowStrDeserializer, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::types::Word;
use crate::abi::Call;

/// A word of a set, or one that is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of<T> {
    /// One of the set.
    Known(T),
    /// Another: of a later version.
    Later(String),
}

impl<T: Serialize> Serialize for Of<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Of::Known(word) => word.serialize(serializer),
            Of::Later(word) => serializer.serialize_str(word),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Of<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Of<T>, D::Error> {
        let Word(word) = Word::deserialize(deserializer)?;
        let word = String::from_utf8_lossy(&word);
        let known: CowStrDeserializer<'_, Error> = word.clone().into_deserializer();
        Ok(match T::deserialize(known) {
            Ok(word) => Of::Known(word),
            Err(_) => Of::Later(word.into_owned()),
        })
    }
}

/// As the set: what is written is always in it.
impl<T: JsonSchema> JsonSchema for Of<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The calls that a sort of lines tells of.
macro_rules! calls {
    ($(#[$doc:meta])* $name:ident { $($(#[$note:meta])* $call:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$note])* $call,)*
        }

        impl $name {
            /// The one of these that a call is.
            pub fn of(call: Call) -> Option<$name> {
                match call {
                    $(Call::$call => Some($name::$call),)*
                    _ => None,
                }
            }

            /// Which call it is.
            pub fn call(self) -> Call {
                match self {
                    $($name::$call => Call::$call,)*
                }
            }
        }
    };
}

calls! {
    /// Calls that create.
    Creating {
        /// fork(2).
        Fork,
        /// vfork(2).
        Vfork,
        /// clone(2).
        Clone,
        /// clone3 (clone(2)).
        Clone3,
    }
}

calls! {
    /// Calls that execute.
    Executing {
        /// execve(2).
        Execve,
        /// execveat(2).
        Execveat,
    }
}

calls! {
    /// Calls that wait.
    Waiting {
        /// wait4(2).
        Wait4,
        /// waitpid of i386 (wait(2)).
        Waitpid,
        /// waitid(2).
        Waitid,
    }
}

calls! {
    /// Calls that send a signal.
    Signalling {
        /// kill(2).
        Kill,
        /// tkill(2).
        Tkill,
        /// tgkill(2).
        Tgkill,
        /// rt_sigqueueinfo(2).
        RtSigqueueinfo,
        /// rt_tgsigqueueinfo(2).
        RtTgsigqueueinfo,
        /// pidfd_send_signal(2).
        PidfdSendSignal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that one of the lines tells of has its word there, and it is the call's name.
    #[test]
    fn words_of_calls_are_their_names() {
        let word = |word: Result<serde_json::Value, _>| word.expect("a word");
        for call in crate::abi::Abi::ALL
            .into_iter()
            .flat_map(|abi| abi.numbers().chain(abi.waits_numbers()))
            .map(|(_, call)| call)
        {
            let words = [
                Creating::of(call).map(|one| word(serde_json::to_value(one))),
                Executing::of(call).map(|one| word(serde_json::to_value(one))),
                Waiting::of(call).map(|one| word(serde_json::to_value(one))),
                Signalling::of(call).map(|one| word(serde_json::to_value(one))),
            ];
            let name = Some(serde_json::Value::from(call.name()));
            let sorts = [
                call.creates(),
                matches!(call, Call::Execve | Call::Execveat),
                call.waits(),
                call.signals(),
            ];
            assert_eq!(words, sorts.map(|is| name.clone().filter(|_| is)));
        }
    }
}
