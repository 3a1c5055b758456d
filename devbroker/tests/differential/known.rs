//! Where the development broker answers differently, and why. Short, and checked: an entry that is no longer needed fails.

/// Scenarios that differ for one reason.
pub struct Known {
    /// The versions of RabbitMQ that they differ from.
    pub versions: &'static [&'static str],
    pub reason: &'static str,
    pub scenarios: &'static [&'static str],
}

/// All of them.
pub const KNOWN: &[Known] = &[];

/// Why this scenario may differ from this version.
pub fn reason(version: &str, scenario: &str) -> Option<&'static str> {
    let fits =
        |known: &&Known| known.versions.contains(&version) && known.scenarios.contains(&scenario);
    KNOWN.iter().find(fits).map(|known| known.reason)
}
