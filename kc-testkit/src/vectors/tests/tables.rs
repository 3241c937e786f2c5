//! The tables of exceptions: what each row allows, and when it is stale.

use super::*;

mod deviations {
    use super::*;

    const fn row(cases: Cases, instead: Instead) -> Deviation {
        Deviation {
            family: "keys",
            cases,
            instead,
            ours: "we refuse",
            reason: "it is safer",
        }
    }

    fn deviating(tier: &str) -> Value {
        case(
            "odd",
            "echo",
            tier,
            json!({"value": {}, "refuse": 1}),
            json!({}),
        )
    }

    fn tables(deviations: &[Deviation]) -> Tables<'_> {
        Tables {
            deviations,
            ..Tables::EMPTY
        }
    }

    #[test]
    fn a_documented_one_counts_as_such() {
        for cases in [Cases::Named("odd"), Cases::Prefix("od"), Cases::Op("echo")] {
            let rows = [row(cases, Instead::Rejects)];
            let (success, text) = strict(&[deviating("quirk")], tables(&rows));
            assert!(success, "{text}");
            assert!(
                text.contains("deviates keys/echo/odd: we refuse (it is safer)"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_undocumented_one_fails_in_the_projects_folder_alone() {
        let (success, text) = strict(&[deviating("quirk")], Tables::EMPTY);
        assert!(
            !success && text.contains("without a row in DEVIATIONS"),
            "{text}"
        );

        let (success, text) = run_with(
            &[document("keys", &[deviating("quirk")])],
            Tables::EMPTY,
            false,
        );
        assert!(
            success && text.contains("quirk deviation (undocumented) keys/echo/odd"),
            "{text}"
        );
    }

    #[test]
    fn a_must_case_never_deviates() {
        let rows = [row(Cases::Named("odd"), Instead::Rejects)];
        let (success, text) = strict(&[deviating("must")], tables(&rows));
        assert!(
            !success && text.contains("FAILED keys/echo/odd (must)"),
            "{text}"
        );

        let rows = [row(Cases::Named("plain"), Instead::Rejects)];
        let (success, text) = strict(&[agreeing("plain", "must")], tables(&rows));
        assert!(
            !success && text.contains("a must case stands in DEVIATIONS"),
            "{text}"
        );
    }

    #[test]
    fn a_stale_row_fails_in_the_projects_folder_alone() {
        let rows = [row(Cases::Prefix("pl"), Instead::Rejects)];
        let (success, text) = strict(&[agreeing("plain", "quirk")], tables(&rows));
        assert!(
            !success && text.contains("agrees: the row is stale"),
            "{text}"
        );
        assert!(
            run_with(
                &[document("keys", &[agreeing("plain", "quirk")])],
                tables(&rows),
                false
            )
            .0
        );

        let rows = [row(Cases::Named("gone"), Instead::Rejects)];
        let (success, text) = strict(&[agreeing("plain", "quirk")], tables(&rows));
        assert!(
            !success && text.contains("is not needed: the row is stale"),
            "{text}"
        );
        assert!(
            run_with(
                &[document("keys", &[agreeing("plain", "quirk")])],
                tables(&rows),
                false
            )
            .0
        );
    }

    #[test]
    fn we_do_what_the_row_says() {
        let differing = case(
            "odd",
            "echo",
            "quirk",
            json!({"value": {"a": 1, "b": 1}}),
            json!({"a": 2, "b": 1}),
        );
        let refusing = refused("odd", "quirk", json!({"value": {}}), json!({}));
        let fits = |case: &Value, instead: Instead| {
            strict(
                std::slice::from_ref(case),
                tables(&[row(Cases::Named("odd"), instead)]),
            )
            .0
        };
        assert!(fits(&differing, Instead::Differs(&["a"])));
        assert!(!fits(&differing, Instead::Differs(&["b"])));
        assert!(!fits(&differing, Instead::Rejects));
        assert!(fits(&refusing, Instead::Accepts));
        assert!(!fits(&refusing, Instead::Rejects));
        assert!(!fits(&deviating("quirk"), Instead::Accepts));
    }
}

mod normalisations {
    use super::*;

    /// Forgets the counter, the second of each pair.
    const fn row(fields: &'static [&'static str]) -> Normalisation {
        let apply = |_: &CaseInput<'_>, body: &mut Value| {
            let waiting = body.get_mut("waiting").and_then(Value::as_array_mut);
            for counter in waiting
                .into_iter()
                .flatten()
                .filter_map(|pair| pair.get_mut(1))
            {
                *counter = Value::Null;
            }
            Ok(())
        };
        Normalisation {
            family: "keys",
            op: "echo",
            fields,
            reason: "the counter is internal",
            apply,
        }
    }

    fn counting() -> Value {
        case(
            "a",
            "echo",
            "must",
            json!({"value": {"waiting": [["x", 3]]}}),
            json!({"waiting": [["x", 9]]}),
        )
    }

    fn run(case: Value, rows: &[Normalisation]) -> (bool, String) {
        strict(
            &[case],
            Tables {
                normalisations: rows,
                ..Tables::EMPTY
            },
        )
    }

    #[test]
    fn a_named_field_may_differ_and_its_alteration_is_counted_apart() {
        let (success, text) = run(counting(), &[row(&["waiting[][]"])]);
        assert!(success && text.contains("1 in normalised fields"), "{text}");
    }

    #[test]
    fn a_field_that_is_not_named_must_not_be_lost() {
        let (success, text) = run(counting(), &[row(&["other"])]);
        assert!(
            !success && text.contains("blind to an alteration of out.waiting[0][1]"),
            "{text}"
        );
    }

    #[test]
    fn a_stale_row_fails() {
        let (success, text) = run(agreeing("a", "must"), &[row(&["waiting[][]"])]);
        assert!(
            !success && text.contains("keys/echo changes nothing: the row is stale"),
            "{text}"
        );
    }
}
