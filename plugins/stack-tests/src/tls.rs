//! Certificates for servers of tests, signed by an authority of the test's own.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// Who signs.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server shows.
pub struct Identity {
    /// The certificate in DER and in PEM.
    pub certificate: Vec<u8>,
    /// See there.
    pub certificate_pem: String,
    /// Its key, in PKCS #8, in DER and in PEM.
    pub key: Vec<u8>,
    /// See there.
    pub key_pem: String,
}

impl Authority {
    /// One of this name that nobody knows yet.
    ///
    /// # Panics
    /// There is no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// An identity of the host of this name.
    #[must_use]
    pub fn identity(&self, name: &str) -> Identity {
        self.sign(params(name))
    }

    /// One that was valid once.
    #[must_use]
    pub fn expired(&self, name: &str) -> Identity {
        let mut params = params(name);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.der().to_vec(),
            certificate_pem: certificate.pem(),
            key: key.serialize_der(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a name of a host")
}
