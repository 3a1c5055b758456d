//! Where the development broker answers differently from RabbitMQ, and why. Short, and checked: what is no longer
//! needed fails.

use regex::Regex;

use crate::recorded::{CHANGED, FULL};

/// Scenarios that differ for one reason.
pub struct Known {
    /// The versions of RabbitMQ that they differ from.
    pub versions: &'static [&'static str],
    pub reason: &'static str,
    pub scenarios: &'static [&'static str],
}

/// A difference all over the transcripts of a version, which is taken out of both sides before they are compared.
pub struct Everywhere {
    pub version: &'static str,
    pub reason: &'static str,
    /// A regular expression, and what takes the place of what it matches.
    pub pattern: &'static str,
    pub with: &'static str,
}

/// What 4.3 does everywhere and 3.10 nowhere. The development broker follows 3.10.
pub const EVERYWHERE: &[Everywhere] = &[
    Everywhere {
        version: CHANGED,
        reason: "dead letters have x-last-death headers",
        pattern: r#" h\.x-last-death-(exchange|queue|reason)=("[^"]*"|[^ }]*)"#,
        with: "",
    },
    Everywhere {
        version: CHANGED,
        reason: "dead letters keep the redelivered flag of their last delivery",
        pattern: r" redelivered( exchange=.*h\.x-death=)",
        with: "$1",
    },
    Everywhere {
        version: CHANGED,
        reason: "quorum queues count acquisitions beside deliveries",
        pattern: r"h\.x-acquired-count=\d+l ?",
        with: "",
    },
    Everywhere {
        version: CHANGED,
        reason: "basic.get from a quorum queue has no x-delivery-count before the first redelivery",
        pattern: r"h\.x-delivery-count=0l",
        with: "",
    },
    Everywhere {
        version: CHANGED,
        reason: "messages of streams have a delivery mode",
        pattern: r"(h\.x-stream-offset=\d+l) delivery-mode=1",
        with: "$1",
    },
    Everywhere {
        version: CHANGED,
        reason: "refusals say which permission is missing",
        pattern: r"(configure|write|read) access to",
        with: "access to",
    },
    Everywhere {
        version: CHANGED,
        reason: "guest may log in anonymously",
        pattern: r"\+ANONYMOUS",
        with: "",
    },
    Everywhere {
        version: CHANGED,
        reason: "AMQP 1.0 is offered to who does not speak 0-9-1",
        pattern: r"offers AMQP \[.*\]",
        with: "offers AMQP",
    },
];

/// All other differences.
pub const KNOWN: &[Known] = &[
    Known {
        versions: &[FULL, CHANGED],
        reason: "transactions are refused with 540: publisher confirms do what they are used for",
        scenarios: &[
            "transactions_and_confirms_exclude_each_other",
            "transactions_commit_and_roll_back",
            "transactions_need_selecting",
        ],
    },
    Known {
        versions: &[FULL, CHANGED],
        reason: "RabbitMQ drops the connection without a word, the development broker says what is wrong",
        scenarios: &[
            "a_tune_beyond_the_limit_is_refused",
            "a_tune_of_frame_max_too_small_is_refused",
            "an_unknown_class_is_an_error",
            "an_unknown_mechanism_is_refused",
            "an_unknown_method_is_an_error",
            "the_client_may_leave_tuning_to_the_broker",
        ],
    },
    Known {
        versions: &[FULL, CHANGED],
        reason: "RabbitMQ fails with 541, the development broker says what is wrong",
        scenarios: &[
            "a_stream_offset_of_another_type_is_refused",
            "a_stream_offset_that_is_no_word_is_refused",
            "properties_that_are_damaged_are_an_error",
        ],
    },
    Known {
        versions: &[FULL],
        reason: "3.10 fails with 541, the development broker refuses as 4.3 does",
        scenarios: &["a_stream_with_an_age_that_is_no_interval_is_refused"],
    },
    Known {
        versions: &[FULL, CHANGED],
        reason: "RabbitMQ accepts what it cannot do or does not keep to; the development broker refuses it",
        scenarios: &[
            "a_delivery_limit_must_be_a_number",
            "a_tune_of_channel_max_holds",
            "reject_publish_dlx_is_refused_on_a_quorum_queue",
        ],
    },
    Known {
        versions: &[FULL],
        reason: "3.10 leaves x-first-death out where the client sent an x-death that is none; 4.3 does not",
        scenarios: &["x_death_of_the_client_that_is_no_list_is_replaced"],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 believes no x-death of clients, and keeps CC in dead letters with a key of their own",
        scenarios: &[
            "cc_headers_are_remembered_and_followed",
            "x_death_of_the_client_is_kept",
        ],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 closes the channel with 406, 3.10 the connection with 503",
        scenarios: &[
            "an_exchange_without_a_type_is_refused",
            "an_unknown_exchange_type_is_refused",
        ],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 checks permissions of passive declarations",
        scenarios: &["a_passive_declare_needs_no_permission"],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 takes global limits for limits of each consumer",
        scenarios: &[
            "a_global_limit_holds_for_all_consumers_of_a_channel",
            "a_quorum_queue_cannot_have_a_global_limit",
        ],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 numbers direct replies and returns none of them",
        scenarios: &[
            "a_mandatory_reply_is_returned_though_delivered",
            "a_mandatory_reply_to_a_closed_channel_is_returned",
            "a_second_reply_has_a_delivery_tag",
        ],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 accepts any delivery mode and any queue mode, and counts no delivery when recovering",
        scenarios: &[
            "a_quorum_queue_recovers",
            "an_unknown_queue_mode_is_refused",
            "delivery_mode_arrives_as_it_is",
        ],
    },
    Known {
        versions: &[CHANGED],
        reason: "4.3 says the same in other words, or with 501 for 505",
        scenarios: &[
            "a_body_that_is_longer_than_announced_is_an_error",
            "a_queue_declared_again_with_other_arguments_is_refused",
            "a_quorum_queue_is_not_declared_as_a_classic_one",
            "a_stream_consumer_must_acknowledge",
            "a_stream_consumer_needs_a_limit",
            "a_stream_is_declared_again_the_same",
        ],
    },
];

/// Why this scenario may differ from this version.
pub fn reason(version: &str, scenario: &str) -> Option<&'static str> {
    let fits =
        |known: &&Known| known.versions.contains(&version) && known.scenarios.contains(&scenario);
    KNOWN.iter().find(fits).map(|known| known.reason)
}

/// The transcript without what differs everywhere.
pub fn without_everywhere(version: &str, lines: &[String]) -> Vec<String> {
    let here = EVERYWHERE
        .iter()
        .filter(|everywhere| everywhere.version == version);
    let patterns: Vec<_> = here
        .map(|everywhere| (everywhere.pattern(), everywhere.with))
        .collect();
    let normal = |line: &String| {
        patterns.iter().fold(line.clone(), |line, (pattern, with)| {
            pattern.replace_all(&line, *with).into_owned()
        })
    };
    lines.iter().map(normal).collect()
}

impl Everywhere {
    /// The pattern, ready to use.
    pub fn pattern(&self) -> Regex {
        Regex::new(self.pattern).expect("a regular expression")
    }
}
