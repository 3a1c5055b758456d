//! Certificates for `amqps://`.

use std::fs;
use std::path::{Path, PathBuf};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

use crate::error::{ConnectError, ConnectErrorKind};

/// Which certificates to trust and which to show, for `amqps://` addresses.
///
/// Without any setting, the certificate authorities of the operating system are trusted and no client certificate is
/// shown. The server's name is always checked. There is no way back to a plain connection.
///
/// # Examples
///
/// ```
/// use coney_amqp::Tls;
///
/// let tls = Tls::new()
///     .ca_file("/etc/rabbitmq/ca.pem")
///     .client_certificate("/etc/app/cert.pem", "/etc/app/key.pem");
/// # let _ = tls;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    ca_file: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Trusts the certificate authorities of the operating system and shows no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also trusts the certificate authorities in this PEM file.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Shows the certificate (chain) in one PEM file, with the unencrypted private key in the other.
    #[must_use]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Reads and checks the files: once, so that a typing error shows at the start and not at the first reconnect.
    pub(crate) fn read(&self) -> Result<OwnedTLSConfig, ConnectError> {
        let cert_chain = self.ca_file.as_deref().map(authorities).transpose()?;
        let identity = self.identity.as_ref().map(identity).transpose()?;
        Ok(OwnedTLSConfig {
            identity,
            cert_chain,
        })
    }
}

fn authorities(path: &Path) -> Result<String, ConnectError> {
    let bytes = pem(path, "CERTIFICATE")?;
    String::from_utf8(bytes).map_err(|cause| bad(path, "is not text").caused_by(cause))
}

fn identity((certificate, key): &(PathBuf, PathBuf)) -> Result<OwnedIdentity, ConnectError> {
    Ok(OwnedIdentity::PKCS8 {
        pem: pem(certificate, "CERTIFICATE")?,
        key: pem(key, "PRIVATE KEY")?,
    })
}

/// Reads a PEM file, and makes sure that it has a section of this kind: rustls would take an empty one for no
/// certificate at all and fail much later.
fn pem(path: &Path, section: &str) -> Result<Vec<u8>, ConnectError> {
    let bytes = fs::read(path).map_err(|cause| bad(path, "cannot be read").caused_by(cause))?;
    let text = String::from_utf8_lossy(&bytes);
    let found = text.lines().any(|line| {
        line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{section}-----"))
    });
    if !found {
        return Err(bad(path, &format!("has no PEM section `{section}`")));
    }
    if section == "PRIVATE KEY" && text.contains("ENCRYPTED") {
        return Err(bad(path, "is encrypted: an unencrypted key is needed"));
    }
    Ok(bytes)
}

fn bad(path: &Path, what: &str) -> ConnectError {
    ConnectError::new(
        ConnectErrorKind::Tls,
        format!("the TLS file {} {what}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = std::env::temp_dir().join(format!("coney-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("temporary folder");
        let text = folder.join("note.txt");
        fs::write(&text, "no certificate").expect("temporary file");
        let missing = folder.join("missing.pem");
        for (path, part) in [
            (&text, "no PEM section `CERTIFICATE`"),
            (&missing, "cannot be read"),
        ] {
            let error = Tls::new().ca_file(path).read().expect_err(part);
            assert_eq!(error.kind(), ConnectErrorKind::Tls);
            let shown = error.to_string();
            assert!(shown.contains(part), "{shown}");
            assert!(shown.contains(&*path.to_string_lossy()), "{shown}");
        }
        let error = Tls::new()
            .client_certificate(&missing, &text)
            .read()
            .expect_err("no such file");
        assert!(error.to_string().contains("missing.pem"), "{error}");
        fs::remove_dir_all(&folder).expect("temporary folder");
    }
}
