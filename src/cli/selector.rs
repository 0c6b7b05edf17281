//! `rescind selector`: the tokens that match a selector of the list.

use clap::{Args, ValueEnum};

use super::context::Context;
use super::failure::{Exit, Failure};
use super::revoke::{IssuerOption, RevokeOptions};
use crate::api::invalid::label;
use crate::api::revocation::ValueType;
use crate::api::target::typed;
use crate::proto::v1;
use crate::proto::v1::claim_value::Value;
use crate::proto::v1::target::Target;
use crate::revocation::claims::ClaimPath;
use crate::revocation::selector::TypedValue;

/// Revoke the tokens that match a selector which the list declares
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  # One user on one app, where the list declares {name: subject-on-client, claims: [sub, client_id]}
  rescind selector subject-on-client sub=alice client_id=web-shop

  # A tenant whose id is a number
  rescind selector tenant /tenant/id=42 --type /tenant/id=number --ban")]
pub(super) struct Selector {
    /// Name of the selector
    #[arg(value_name = "NAME", value_parser = parse_name)]
    selector: String,
    /// A value for each claim of the selector
    #[arg(value_name = "CLAIM=VALUE", required = true, num_args = 1..=8, value_parser = parse_pair)]
    values: Vec<(ClaimPath, String)>,
    /// JSON type of a claim: string (unless given), number or boolean
    #[arg(long = "type", value_name = "CLAIM=TYPE", value_parser = parse_type)]
    types: Vec<(ClaimPath, Type)>,
    /// Whose tokens.
    #[command(flatten)]
    issuer: IssuerOption,
    /// How.
    #[command(flatten)]
    options: RevokeOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    String,
    Number,
    Boolean,
}

fn parse_name(text: &str) -> Result<String, String> {
    label("name", text).map(|()| text.to_owned()).map_err(|error| error.problem)
}

fn parse_pair(text: &str) -> Result<(ClaimPath, String), String> {
    let (claim, value) = text.split_once('=').ok_or("write claim=value")?;
    let claim =
        claim.parse().map_err(|error: crate::revocation::claims::ClaimPathError| error.to_string())?;
    Ok((claim, value.to_owned()))
}

fn parse_type(text: &str) -> Result<(ClaimPath, Type), String> {
    let (claim, type_) = parse_pair(text)?;
    let type_ =
        Type::from_str(&type_, false).map_err(|_| "write claim=string, claim=number or claim=boolean")?;
    Ok((claim, type_))
}

impl Selector {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let values = values(&self.values, &self.types)?;
        let target = Target::Selector(v1::SelectorTarget { name: self.selector, values });
        self.options.revoke(self.issuer.issuer.as_deref(), target, context).await
    }
}

fn values(
    pairs: &[(ClaimPath, String)],
    types: &[(ClaimPath, Type)],
) -> Result<Vec<v1::ClaimValue>, Failure> {
    twice(pairs.iter().map(|(claim, _)| claim), "is given twice")?;
    twice(types.iter().map(|(claim, _)| claim), "has two types")?;
    if let Some((claim, _)) = types.iter().find(|(claim, _)| pairs.iter().all(|(other, _)| claim != other)) {
        return Err(usage(claim, "has a --type, but no value"));
    }
    let value = |(claim, text): &(ClaimPath, String)| {
        let type_ = types.iter().find(|(other, _)| claim == other).map_or(Type::String, |(_, type_)| *type_);
        let type_ = match type_ {
            Type::String => ValueType::String,
            Type::Number => ValueType::Number,
            Type::Boolean => ValueType::Boolean,
        };
        let value = match typed(Some(type_), text).map_err(|error| usage(claim, &error.problem))? {
            TypedValue::String(text) => Value::String(text),
            TypedValue::Number(number) => Value::Number(number.to_string()),
            TypedValue::Boolean(truth) => Value::Boolean(truth),
        };
        Ok(v1::ClaimValue { claim: claim.as_str().to_owned(), value: Some(value) })
    };
    pairs.iter().map(value).collect()
}

fn twice<'a>(claims: impl Iterator<Item = &'a ClaimPath>, problem: &str) -> Result<(), Failure> {
    let mut seen: Vec<&ClaimPath> = Vec::new();
    for claim in claims {
        if seen.contains(&claim) {
            return Err(usage(claim, problem));
        }
        seen.push(claim);
    }
    Ok(())
}

fn usage(claim: &ClaimPath, problem: &str) -> Failure {
    Failure::Usage(format!("claim {} {problem}", claim.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[&str], types: &[&str], expected: Result<&[(&str, Value)], &str>) {
        let pairs: Vec<_> = pairs.iter().map(|text| parse_pair(text).unwrap()).collect();
        let types: Vec<_> = types.iter().map(|text| parse_type(text).unwrap()).collect();
        let wire = |(claim, value): &(&str, Value)| v1::ClaimValue {
            claim: (*claim).to_owned(),
            value: Some(value.clone()),
        };
        let expected = expected.map(|values| values.iter().map(wire).collect::<Vec<_>>());
        let seen = values(&pairs, &types).map_err(|error| error.to_string());
        assert_eq!(seen, expected.map_err(str::to_owned));
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn values_keep_the_type_that_was_asked_for() {
        check(&["sub=a=b", "/tenant/id=7"], &[], Ok(&[("sub", string("a=b")), ("/tenant/id", string("7"))]));
        let number = Value::Number("7".to_owned());
        check(&["/tenant/id=7"], &["/tenant/id=number"], Ok(&[("/tenant/id", number)]));
        check(&["admin=true"], &["/admin=boolean"], Ok(&[("admin", Value::Boolean(true))]));
    }

    #[test]
    fn values_that_make_no_sense_name_their_claim() {
        check(&["a=1", "/a=2"], &[], Err("claim a is given twice"));
        check(&["a=1"], &["a=number", "a=string"], Err("claim a has two types"));
        check(&["a=1"], &["b=number"], Err("claim b has a --type, but no value"));
        check(&["a=x"], &["a=number"], Err("claim a is not a JSON number"));
        check(&["a=1"], &["a=boolean"], Err("claim a is neither \"true\" nor \"false\""));
        check(&["a="], &[], Err("claim a is empty: give a value, or leave the field out"));
        assert_eq!(parse_pair("a"), Err("write claim=value".to_owned()));
        assert!(parse_pair("=1").unwrap_err().starts_with("a claim needs a name"));
        assert!(parse_type("a=float").unwrap_err().starts_with("write claim=string"));
    }
}
