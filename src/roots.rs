//! Whose word a TLS peer is believed on: the certificate authorities of the system, and those that
//! were given. Where the system has none, Mozilla's, as built in.

use std::fmt;
use std::sync::OnceLock;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The certificate of an authority that receivers' certificates may come from.
#[derive(Clone)]
pub struct CertificateAuthority(Certificate<'static>);

/// A file is no list of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadCertificate {
    /// It is not PEM, or breaks off.
    NotPem,
    /// There is no certificate in it.
    None,
    /// One of them cannot be read; the first is number 1.
    Unreadable(usize),
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadCertificate::NotPem => {
                f.write_str("it is not PEM: give a file with `-----BEGIN CERTIFICATE-----` in it")
            }
            BadCertificate::None => f.write_str(
                "there is no certificate in it: give a file with `-----BEGIN CERTIFICATE-----` in it",
            ),
            BadCertificate::Unreadable(number) => write!(
                f,
                "certificate {number} in it cannot be read: give certificates of authorities (X.509)"
            ),
        }
    }
}

impl std::error::Error for BadCertificate {}

impl CertificateAuthority {
    /// The certificates in a PEM file; other items in it are passed by.
    ///
    /// # Errors
    /// When it is not PEM, holds no certificate, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<CertificateAuthority>, BadCertificate> {
        let mut found = Vec::new();
        for item in parse_pem(pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|_| BadCertificate::NotPem)? {
                let der = CertificateDer::from(certificate.der().to_vec());
                let readable = RootCertStore::empty().add(der);
                readable.map_err(|_| BadCertificate::Unreadable(found.len() + 1))?;
                found.push(CertificateAuthority(certificate));
            }
        }
        if found.is_empty() { Err(BadCertificate::None) } else { Ok(found) }
    }
}

/// Believes the system's authorities and `more`.
pub(crate) fn tls_config(more: &[CertificateAuthority]) -> TlsConfig {
    let system = system();
    let roots = match (system, more) {
        ([], []) => RootCerts::WebPki,
        (_, []) => RootCerts::new_with_certs(system),
        _ => {
            let more = more.iter().map(|authority| authority.0.clone());
            RootCerts::from(system.iter().cloned().chain(more))
        }
    };
    TlsConfig::builder().root_certs(roots).build()
}

/// The system's authorities, read once. `SSL_CERT_FILE` and `SSL_CERT_DIR` say where they are instead.
fn system() -> &'static [Certificate<'static>] {
    static SYSTEM: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            log::warn!("some of the system's certificate authorities cannot be read: {error}");
        }
        if found.certs.is_empty() {
            log::info!("the system has no certificate authorities, and Mozilla's are used");
        }
        found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_in_words() {
        let refused = |pem: &[u8]| CertificateAuthority::from_pem(pem).err();
        assert_eq!(refused(b""), Some(BadCertificate::None));
        assert_eq!(refused(b"not a certificate"), Some(BadCertificate::None));
        let rubbish = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(rubbish), Some(BadCertificate::Unreadable(1)));
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(broken), Some(BadCertificate::NotPem));
    }
}
