//! The parameters of `/testOrderList`: those of `OrderSearchParams`, by their names there.
//!
//! In: a query string. Out: a search, or what is wrong with it. Not here: whether a date exists; the service knows.

use std::fmt::Display;
use std::str::FromStr;

use crate::proto::OrderSearchParams;

/// Reads `afterId=…&limit=…&fromDate=…&toDate=…`, each at most once.
pub(super) fn search(query: &str) -> Result<OrderSearchParams, String> {
    let mut search = OrderSearchParams::default();
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            return Err(format!("{name} is there twice"));
        }
        match &*name {
            "afterId" => search.after_id = Some(number(&name, &value)?),
            "limit" => search.limit = number(&name, &value)?,
            "fromDate" => search.from_date = value.into_owned(),
            "toDate" => search.to_date = value.into_owned(),
            _ => {
                return Err(format!(
                    "no such parameter: {name:?}; there are afterId, limit, fromDate, toDate"
                ));
            }
        }
        seen.push(name);
    }
    Ok(search)
}

fn number<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|error| format!("{name}={value:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_is_everything() {
        assert_eq!(search(""), Ok(OrderSearchParams::default()));
    }

    #[test]
    fn every_parameter_is_read_decoded() {
        let query =
            "toDate=2024-01-02+00%3A00%3A00&afterId=-1&limit=7&fromDate=2024-01-01%2000:00:00";
        assert_eq!(
            search(query),
            Ok(OrderSearchParams {
                after_id: Some(-1),
                limit: 7,
                from_date: "2024-01-01 00:00:00".to_owned(),
                to_date: "2024-01-02 00:00:00".to_owned(),
            })
        );
    }

    #[test]
    fn what_is_malformed_is_named() {
        for (query, wrong) in [
            ("afterId=x", "afterId=\"x\": invalid digit found in string"),
            (
                "afterId=",
                "afterId=\"\": cannot parse integer from empty string",
            ),
            ("afterId=2147483648", "number too large"),
            ("limit=-1", "limit=\"-1\": invalid digit"),
            ("limit=1&limit=2", "limit is there twice"),
            (
                "afterID=1",
                "no such parameter: \"afterID\"; there are afterId",
            ),
        ] {
            let error = search(query).unwrap_err();
            assert!(error.contains(wrong), "{query}: {error}");
        }
    }
}
