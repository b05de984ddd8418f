//! A judge of JSON Schema, for as much of it as the log's schema uses: a keyword that it
//! doesn't know is refused, not passed over. The crate that does this, `jsonschema`, would
//! bring fifty others for these twenty keywords, and another feature of serde_json
//! (`float_roundtrip`) into all that is tested.

use serde_json::{Map, Value};

pub(crate) struct Schema(pub(crate) Value);

impl Schema {
    /// Whether the schema allows a line of a log, and describes all of its fields.
    pub(crate) fn check_line(&self, line: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        self.judge(&self.0, &value)?;
        let part = list(&self.0["oneOf"])
            .iter()
            .find(|part| part["properties"]["event"]["const"] == value["event"])
            .ok_or("no such event")?;
        let fields = object(&self.target(&part["$ref"])?["properties"]);
        match object(&value)
            .keys()
            .find(|name| *name != "event" && !fields.contains_key(*name))
        {
            Some(name) => Err(format!("field {name} is not described")),
            None => Ok(()),
        }
    }

    fn target(&self, reference: &Value) -> Result<&Value, String> {
        let path = reference.as_str().and_then(|path| path.strip_prefix('#'));
        path.and_then(|path| self.0.pointer(path))
            .ok_or_else(|| format!("no such schema: {reference}"))
    }

    fn judge(&self, schema: &Value, value: &Value) -> Result<(), String> {
        for (keyword, rule) in object(schema) {
            self.rule(keyword, rule, value)
                .map_err(|error| format!("{keyword}: {error}"))?;
        }
        Ok(())
    }

    fn rule(&self, keyword: &str, rule: &Value, value: &Value) -> Result<(), String> {
        let items = value.as_array();
        let fits = match keyword {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" | "readOnly" => {
                true
            }
            "$ref" => return self.judge(self.target(rule)?, value),
            "oneOf" | "anyOf" => {
                let judged = list(rule).iter().map(|choice| self.judge(choice, value));
                let (fits, errors): (Vec<_>, Vec<_>) = judged.partition(Result::is_ok);
                if fits.is_empty() {
                    return Err(format!("none fits: {errors:?}"));
                }
                keyword == "anyOf" || fits.len() == 1
            }
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is(value, name)),
                name => is(value, name),
            },
            "const" => rule == value,
            "enum" => list(rule).contains(value),
            "properties" => {
                for (name, schema) in object(rule) {
                    if let Some(value) = value.get(name) {
                        self.judge(schema, value)
                            .map_err(|error| format!("{name}: {error}"))?;
                    }
                }
                true
            }
            "required" => match list(rule)
                .iter()
                .find(|name| value.get(name.as_str().expect("a name")).is_none())
            {
                Some(name) => return Err(format!("no {name}")),
                None => true,
            },
            "items" => {
                for item in items.into_iter().flatten() {
                    self.judge(rule, item)?;
                }
                true
            }
            "minItems" => items.is_none_or(|items| items.len() as i128 >= number(rule)),
            "maxItems" => items.is_none_or(|items| items.len() as i128 <= number(rule)),
            "minimum" => !value.is_number() || number(value) >= number(rule),
            "maximum" => !value.is_number() || number(value) <= number(rule),
            "pattern" => value.as_str().is_none_or(|text| matches(rule, text)),
            other => panic!("a keyword that this judge doesn't know: {other}"),
        };
        match fits {
            true => Ok(()),
            false => Err(format!("{value} is not {rule}")),
        }
    }
}

fn is(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => panic!("a type that this judge doesn't know: {name}"),
    }
}

/// The two patterns that there are.
fn matches(pattern: &Value, text: &str) -> bool {
    let hex = |text: &str| text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    match pattern.as_str() {
        Some("^0x[0-9a-f]{1,16}$") => text
            .strip_prefix("0x")
            .is_some_and(|digits| (1..=16).contains(&digits.len()) && hex(digits)),
        Some("^([0-9a-f]{2})*$") => text.len().is_multiple_of(2) && hex(text),
        _ => panic!("a pattern that this judge doesn't know: {pattern}"),
    }
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn number(value: &Value) -> i128 {
    let signed = value.as_i64().map(i128::from);
    signed
        .or(value.as_u64().map(i128::from))
        .expect("an integer")
}
