//! Certificates for `amqps://`.

#[cfg(feature = "tls")]
use std::fs;
#[cfg(feature = "tls")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "tls")]
use lapin::tcp::RustlsConnectorConfig;
#[cfg(feature = "tls")]
use rustls_pki_types::pem::{self, PemObject};
#[cfg(feature = "tls")]
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::ConnectError;
#[cfg(feature = "tls")]
use crate::error::ConnectErrorKind;

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

    /// Reads and checks the files: once, so that a typing error shows at the start and not at the first reconnect, and
    /// so that a reconnect reads no file at all.
    #[cfg(feature = "tls")]
    pub(crate) fn read(&self) -> Result<Connector, ConnectError> {
        let own = self.ca_file.as_deref().map(authorities).transpose()?;
        let config = match (RustlsConnectorConfig::new_with_native_certs(), own) {
            (Ok(config), None) => config,
            (Ok(config), Some(own)) => config.with_parsable_certificates(own),
            // a small container image has none, and needs none
            (Err(_), Some(own)) => RustlsConnectorConfig::default().with_parsable_certificates(own),
            (Err(cause), None) => {
                return Err(ConnectError::new(
                    ConnectErrorKind::Tls,
                    "this system has no certificate authorities: name one with Tls::ca_file",
                )
                .caused_by(cause));
            }
        };
        let Some((certificate, key)) = &self.identity else {
            return config.connector_with_no_client_auth().map_err(unusable);
        };
        let (chain, secret) = (certificates(certificate)?, private_key(key)?);
        config
            .connector_with_single_cert(chain, secret)
            .map_err(|cause| {
                let pair = format!("cannot be used with the key in {}", key.display());
                bad(certificate, &pair).caused_by(cause)
            })
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn read(&self) -> Result<Connector, ConnectError> {
        Err(ConnectError::url("amqps needs the feature `tls`"))
    }
}

/// What opens TLS on a connection, with all certificates in it.
#[cfg(feature = "tls")]
pub(crate) type Connector = lapin::tcp::RustlsConnector;

/// There is none.
#[cfg(not(feature = "tls"))]
pub(crate) type Connector = std::convert::Infallible;

#[cfg(feature = "tls")]
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let certificates = certificates(path)?;
    // those that cannot be parsed are skipped; there has to be one that can
    RustlsConnectorConfig::default()
        .with_parsable_certificates(certificates.clone())
        .connector_with_no_client_auth()
        .map_err(|cause| bad(path, "holds no certificate that can be used").caused_by(cause))?;
    Ok(certificates)
}

#[cfg(feature = "tls")]
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let bytes = contents(path)?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => {
            Err(bad(path, "has no PEM section `CERTIFICATE`"))
        }
        Ok(certificates) => Ok(certificates),
        Err(cause) => Err(bad(path, "is damaged").caused_by(cause)),
    }
}

#[cfg(feature = "tls")]
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    let bytes = contents(path)?;
    // PEM of old has the word within a section that looks like any other
    if String::from_utf8_lossy(&bytes).contains("ENCRYPTED") {
        return Err(bad(path, "is encrypted: an unencrypted key is needed"));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|cause| match cause {
        pem::Error::NoItemsFound => bad(path, "has no PEM section `PRIVATE KEY`"),
        cause => bad(path, "is damaged").caused_by(cause),
    })
}

#[cfg(feature = "tls")]
fn contents(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|cause| bad(path, "cannot be read").caused_by(cause))
}

#[cfg(feature = "tls")]
fn unusable(cause: std::io::Error) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Tls, "TLS cannot be set up").caused_by(cause)
}

#[cfg(feature = "tls")]
fn bad(path: &Path, what: &str) -> ConnectError {
    ConnectError::new(
        ConnectErrorKind::Tls,
        format!("the TLS file {} {what}", path.display()),
    )
}

#[cfg(all(test, feature = "tls"))]
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
