//! The rules for names on the broker, at the literal that breaks them.
//!
//! `coney_protocol::name` holds the rules; a macro cannot depend on it, so they are repeated here and compared with it
//! by a test.

use syn::LitStr;

const MOST_IN_QUEUE: usize = 170;
const MOST_IN_TASK: usize = 255;

/// Checks the name of a queue.
pub(crate) fn check_queue(literal: &LitStr) -> syn::Result<()> {
    check_queue_text(&literal.value()).map_err(|problem| syn::Error::new(literal.span(), problem))
}

/// Checks the wire name of a task.
pub(crate) fn check_task(literal: &LitStr) -> syn::Result<()> {
    text(&literal.value(), MOST_IN_TASK).map_err(|problem| syn::Error::new(literal.span(), problem))
}

/// Checks a routing pattern.
pub(crate) fn check_pattern(literal: &LitStr) -> syn::Result<()> {
    text(&literal.value(), 255).map_err(|problem| {
        let problem = problem.replace("name", "pattern");
        syn::Error::new(literal.span(), problem)
    })
}

/// Checks the name of a queue that is not written in the source.
pub(crate) fn check_queue_text(name: &str) -> Result<(), String> {
    if name.starts_with("amq.") {
        return Err("names that start with `amq.` belong to RabbitMQ: choose another".to_owned());
    }
    if name.contains(['*', '#']) {
        return Err(
            "`*` and `#` make a pattern of a routing key: choose a name without".to_owned(),
        );
    }
    text(name, MOST_IN_QUEUE)
}

fn text(name: &str, most: usize) -> Result<(), String> {
    if name.is_empty() {
        return Err("a name cannot be empty".to_owned());
    }
    if name.len() > most {
        let length = name.len();
        return Err(format!(
            "the name has {length} bytes, at most {most} are possible"
        ));
    }
    if name.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("a name cannot contain control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use coney_protocol::name::{MAX_QUEUE_NAME, MAX_TASK_NAME, check_queue_name, check_task_name};

    use super::{MOST_IN_TASK, check_queue_text, text};

    #[test]
    fn the_macros_refuse_the_names_that_the_protocol_refuses() {
        let fitting = "x".repeat(MAX_QUEUE_NAME);
        let long = "x".repeat(MAX_QUEUE_NAME + 1);
        for name in [
            "", "emails", "größe", "a\nb", "amq.gen", "amq", "a.*", "#", &fitting, &long,
        ] {
            let expected = check_queue_name(name).map_err(|error| error.to_string());
            assert_eq!(check_queue_text(name), expected, "{name}");
        }
        let fitting = "x".repeat(MAX_TASK_NAME);
        let long = "x".repeat(MAX_TASK_NAME + 1);
        for name in ["", "shop.welcome", "a\u{7f}", "amq.gen", &fitting, &long] {
            let expected = check_task_name(name).map_err(|error| error.to_string());
            assert_eq!(text(name, MOST_IN_TASK), expected, "{name}");
        }
    }
}
