//! The options of a task as a constant expression.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{ToTokens as _, format_ident, quote};

use crate::attr::{Ack, Backoff, Priority, Retry, TaskOptions};
use crate::duration;

/// `TaskSpec::new(..)` and a setter for each option that is given.
pub(crate) fn of(options: &TaskOptions, plain_name: &str, private: &TokenStream) -> TokenStream {
    let name = match &options.name {
        Some(literal) => literal.to_token_stream(),
        None => {
            let name = format!(".{plain_name}");
            quote!(#private::core::concat!(#private::core::env!("CARGO_PKG_NAME"), #name))
        }
    };
    let mut spec = quote!(#private::TaskSpec::new(#name, #private::core::module_path!()));
    if let Some((_, retry)) = &options.retry {
        let policy = retry_policy(retry, private);
        spec.extend(quote!(.retry(#policy)));
    }
    let limits = [
        ("timeout", options.timeout),
        ("soft_timeout", options.soft_timeout),
        ("expires", options.expires),
    ];
    for (setter, duration) in limits {
        if let Some(duration) = duration {
            let setter = format_ident!("{setter}");
            let duration = duration::expand(duration, private);
            spec.extend(quote!(.#setter(#duration)));
        }
    }
    if let Some(priority) = &options.priority {
        let priority = match priority {
            Priority::Low => quote!(Low),
            Priority::Normal => quote!(Normal),
            Priority::High => quote!(High),
            Priority::Level(level) => quote!(Level(#level)),
        };
        spec.extend(quote!(.priority(#private::Priority::#priority)));
    }
    if let Some((_, ack)) = &options.ack {
        let mode = match ack {
            Ack::Late => quote!(Late),
            Ack::Early => quote!(Early),
        };
        spec.extend(quote!(.ack(#private::AckMode::#mode)));
    }
    if options.ignore_result {
        spec.extend(quote!(.ignore_result()));
    }
    if options.track_started {
        spec.extend(quote!(.track_started()));
    }
    if let Some(rate) = &options.rate_limit {
        let (tasks, setter) = (rate.tasks, format_ident!("{}", rate.setter));
        spec.extend(quote!(.rate_limit(#private::Rate::#setter(#tasks))));
    }
    if options.blocking.is_some() {
        spec.extend(quote!(.blocking()));
    }
    spec
}

fn retry_policy(retry: &Retry, private: &TokenStream) -> TokenStream {
    let mut policy = match retry.max {
        Some(max) => quote!(#private::RetryPolicy::max(#max)),
        None => quote!(#private::RetryPolicy::DEFAULT),
    };
    if let Some(backoff) = &retry.backoff {
        let wait = |duration: &Duration| duration::expand(*duration, private);
        let backoff = match backoff {
            Backoff::Exponential { first, cap } => {
                let (first, cap) = (wait(first), wait(cap));
                quote!(Exponential { first: #first, cap: #cap })
            }
            Backoff::Linear { step, cap } => {
                let (step, cap) = (wait(step), wait(cap));
                quote!(Linear { step: #step, cap: #cap })
            }
            Backoff::Fixed(duration) => {
                let duration = wait(duration);
                quote!(Fixed(#duration))
            }
        };
        policy.extend(quote!(.backoff(#private::Backoff::#backoff)));
    }
    if let Some(jitter) = retry.jitter {
        policy.extend(quote!(.jitter(#jitter)));
    }
    policy
}
