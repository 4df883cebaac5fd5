//! Certificates made to order: right ones, and such as break exactly one rule.
//!
//! Built with rcgen directly and not with `signet-x509`, so that what is tested does not also make the test's input.

use crate::START;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;
use signet_crypto::{KeyKind, LocalKey};
use signet_time::UnixTime;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A certificate's DER bytes.
pub type Der = CertificateDer<'static>;

/// A key pair for rcgen and for us.
pub struct ForgeKey(KeyPair);

impl ForgeKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(kind: KeyKind) -> Self {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match kind {
            KeyKind::Rsa2048 => rsa(rcgen::RsaKeySize::_2048),
            KeyKind::Rsa3072 => rsa(rcgen::RsaKeySize::_3072),
            KeyKind::Rsa4096 => rsa(rcgen::RsaKeySize::_4096),
            kind => KeyPair::generate_for(algorithm(kind)),
        };
        Self(pair.expect("generate"))
    }

    /// The same key as one of ours.
    #[must_use]
    pub fn local(&self) -> LocalKey {
        LocalKey::from_pkcs8(self.0.serialized_der()).expect("a key of ours")
    }

    /// A key read back from [`ForgeKey::pkcs8`].
    #[must_use]
    pub fn from_pkcs8(pkcs8: &[u8]) -> Self {
        Self(KeyPair::try_from(pkcs8).expect("a key of the forge"))
    }

    /// The private key in PKCS #8.
    #[must_use]
    pub fn pkcs8(&self) -> Vec<u8> {
        self.0.serialized_der().to_vec()
    }

    /// The key as rcgen has it.
    #[must_use]
    pub fn pair(&self) -> &KeyPair {
        &self.0
    }
}

fn algorithm(kind: KeyKind) -> &'static SignatureAlgorithm {
    match kind {
        KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyKind::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        KeyKind::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
        KeyKind::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
        KeyKind::MlDsa87 => &rcgen::PKCS_ML_DSA_87,
    }
}

/// An authority: its certificate and the means to sign with it.
pub struct Authority {
    /// Its certificate.
    pub certificate: Der,
    params: CertificateParams,
    /// Shared, for rcgen does not read back every kind of key that it writes.
    key: Arc<KeyPair>,
}

/// One certificate to be. Starts right; each method puts one thing wrong, or otherwise.
#[derive(Clone)]
pub struct Recipe {
    params: CertificateParams,
}

/// A leaf with its key.
pub struct Leaf {
    /// Its certificate.
    pub certificate: Der,
    /// Its key.
    pub key: LocalKey,
}

impl Authority {
    /// A root of `trust_domain` with a P-256 key, valid for a year around [`START`].
    #[must_use]
    pub fn root(trust_domain: &str) -> Self {
        Self::root_from(Recipe::ca(trust_domain), KeyKind::P256)
    }

    /// A root from a recipe.
    #[must_use]
    pub fn root_from(recipe: Recipe, kind: KeyKind) -> Self {
        Self::root_with_key(recipe, ForgeKey::generate(kind))
    }

    /// A root from a recipe, with a given key.
    #[must_use]
    pub fn root_with_key(recipe: Recipe, key: ForgeKey) -> Self {
        let certificate = recipe.params.self_signed(&key.0).expect("sign").into();
        Self {
            certificate,
            params: recipe.params,
            key: Arc::new(key.0),
        }
    }

    /// An intermediate of `trust_domain` below this authority.
    #[must_use]
    pub fn intermediate(&self, trust_domain: &str) -> Self {
        self.intermediate_from(Recipe::ca(trust_domain), KeyKind::P256)
    }

    /// An intermediate from a recipe.
    #[must_use]
    pub fn intermediate_from(&self, recipe: Recipe, kind: KeyKind) -> Self {
        let key = ForgeKey::generate(kind).0;
        let certificate = recipe
            .params
            .signed_by(&key, &self.issuer())
            .expect("sign")
            .into();
        Self {
            certificate,
            params: recipe.params,
            key: Arc::new(key),
        }
    }

    /// An intermediate from a recipe, with a given key; it names its issuer's key, which strict verifiers ask for.
    #[must_use]
    pub fn intermediate_with_key(&self, recipe: Recipe, key: ForgeKey) -> Self {
        let mut params = recipe.params;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key.0, &self.issuer()).expect("sign").into();
        Self {
            certificate,
            params,
            key: Arc::new(key.0),
        }
    }

    /// This authority's name and key, certified by `other` instead: a cross certificate.
    #[must_use]
    pub fn cross_signed_by(&self, other: &Self) -> Der {
        self.params
            .signed_by(&*self.key, &other.issuer())
            .expect("sign")
            .into()
    }

    /// A right leaf for the ID `id`, with a P-256 key.
    #[must_use]
    pub fn leaf(&self, id: &str) -> Leaf {
        self.leaf_from(Recipe::svid(id))
    }

    /// A leaf from a recipe, with a P-256 key.
    #[must_use]
    pub fn leaf_from(&self, recipe: Recipe) -> Leaf {
        self.leaf_with_key(recipe, &ForgeKey::generate(KeyKind::P256))
    }

    /// A leaf from a recipe, with a given key.
    #[must_use]
    pub fn leaf_with_key(&self, recipe: Recipe, key: &ForgeKey) -> Leaf {
        let mut params = recipe.params;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key.0, &self.issuer()).expect("sign").into();
        Leaf {
            certificate,
            key: key.local(),
        }
    }

    /// A certificate for an RSA key of which there are only the numbers, however weak; big-endian, the modulus' first
    /// bit set.
    #[must_use]
    pub fn certify_rsa(&self, recipe: Recipe, modulus: &[u8], exponent: &[u8]) -> Der {
        let mut params = recipe.params;
        params.use_authority_key_identifier_extension = true;
        let key = RsaNumbers::new(modulus, exponent);
        params.signed_by(&key, &self.issuer()).expect("sign").into()
    }

    /// This authority's key in a certificate that names another: for signatures that do not fit.
    #[must_use]
    pub fn pretending_to_be(&self, other: &Self) -> Self {
        Self {
            certificate: other.certificate.clone(),
            params: other.params.clone(),
            key: Arc::clone(&self.key),
        }
    }

    /// The authority's key as one of ours.
    #[must_use]
    pub fn local_key(&self) -> LocalKey {
        LocalKey::from_pkcs8(self.key.serialized_der()).expect("a key of ours")
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// A public key that nobody needs to have the private half of.
struct RsaNumbers(Vec<u8>);

impl RsaNumbers {
    fn new(modulus: &[u8], exponent: &[u8]) -> Self {
        let element = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len())
                .expect("a short number")
                .to_be_bytes();
            match length {
                [0, short @ ..=0x7f] => [&[tag, short][..], content].concat(),
                [0, long] => [&[tag, 0x81, long][..], content].concat(),
                [high, low] => [&[tag, 0x82, high, low][..], content].concat(),
            }
        };
        let modulus = element(2, &[&[0], modulus].concat());
        Self(element(0x30, &[modulus, element(2, exponent)].concat()))
    }
}

impl PublicKeyData for RsaNumbers {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// Numbers for serials and names, so that no two certificates of a test are taken for one.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn at<T>(time: UnixTime, epoch: T) -> T
where
    T: core::ops::Add<Duration, Output = T>,
{
    epoch + Duration::from_secs(time.as_secs())
}

impl Recipe {
    /// A right X.509-SVID leaf, valid for an hour from [`START`].
    #[must_use]
    pub fn svid(id: &str) -> Self {
        let mut params = Self::blank();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ascii"))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        Self { params }.valid(START - Duration::from_secs(30), START + Duration::from_hours(1))
    }

    /// A right CA certificate of `trust_domain`, valid from a day before [`START`] for a year.
    #[must_use]
    pub fn ca(trust_domain: &str) -> Self {
        let mut params = Self::blank();
        params.distinguished_name.push(DnType::OrganizationName, "Forge");
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{trust_domain} {}", next()));
        let id = format!("spiffe://{trust_domain}");
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().expect("ascii"))];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { params }.valid(
            START - Duration::from_hours(24),
            START + Duration::from_hours(24 * 364),
        )
    }

    /// A certificate of the web: a DNS name and no URI name.
    #[must_use]
    pub fn web(name: &str) -> Self {
        Self::svid("x:").uris(&[]).dns(name)
    }

    fn blank() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&(next() | 1 << 40).to_be_bytes()));
        params
    }

    /// Valid from `not_before` to `not_after`.
    #[must_use]
    pub fn valid(mut self, not_before: UnixTime, not_after: UnixTime) -> Self {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        self.params.not_before = at(not_before, epoch);
        self.params.not_after = at(not_after, epoch);
        self
    }

    /// With exactly these URI names, right or not.
    #[must_use]
    pub fn uris(mut self, uris: &[&str]) -> Self {
        self.params
            .subject_alt_names
            .retain(|name| !matches!(name, SanType::URI(_)));
        for uri in uris {
            self.params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().expect("ascii")));
        }
        self
    }

    /// With a DNS name more.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.params
            .subject_alt_names
            .push(SanType::DnsName(name.try_into().expect("ascii")));
        self
    }

    /// With this common name as its whole subject.
    #[must_use]
    pub fn subject(mut self, common_name: &str) -> Self {
        self.params.distinguished_name = DistinguishedName::new();
        self.params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        self
    }

    /// With this serial number, for certificates that must come out the same each time.
    #[must_use]
    pub fn serial(mut self, serial: u64) -> Self {
        self.params.serial_number = Some(SerialNumber::from_slice(&(serial | 1 << 40).to_be_bytes()));
        self
    }

    /// With a name more that no SVID has: an address of mail.
    #[must_use]
    pub fn mail(mut self, address: &str) -> Self {
        self.params
            .subject_alt_names
            .push(SanType::Rfc822Name(address.try_into().expect("ascii")));
        self
    }

    /// With a network address more.
    #[must_use]
    pub fn address(mut self, address: core::net::IpAddr) -> Self {
        self.params.subject_alt_names.push(SanType::IpAddress(address));
        self
    }

    /// With `cA` true or false, any path length.
    #[must_use]
    pub fn is_ca(mut self, ca: bool) -> Self {
        self.params.is_ca = if ca {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        self
    }

    /// An authority below which at most `length` others may stand.
    #[must_use]
    pub fn path_len(mut self, length: u8) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        self
    }

    /// With exactly these key usages; the extension is left out where there are none.
    #[must_use]
    pub fn key_usages(mut self, usages: &[KeyUsagePurpose]) -> Self {
        self.params.key_usages = usages.to_vec();
        self
    }

    /// With exactly these extended key usages.
    #[must_use]
    pub fn extended_key_usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.params.extended_key_usages = usages.to_vec();
        self
    }

    /// With an extension that nobody knows.
    #[must_use]
    pub fn unknown_extension(self, critical: bool) -> Self {
        self.extension(&[1, 3, 6, 1, 4, 1, 55_555, 1], critical, vec![0x05, 0x00])
    }

    /// With a critical name constraint that permits the URI host `host` only.
    #[must_use]
    pub fn uri_constraint(self, host: &str) -> Self {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).expect("short host");
            [&[tag, length][..], content].concat()
        };
        let subtree = wrap(0x30, &wrap(0x86, host.as_bytes()));
        self.extension(&[2, 5, 29, 30], true, wrap(0x30, &wrap(0xa0, &subtree)))
    }

    /// With an extension of one's own making.
    #[must_use]
    pub fn extension(mut self, oid: &[u64], critical: bool, content: Vec<u8>) -> Self {
        let mut extension = CustomExtension::from_oid_content(oid, content);
        extension.set_criticality(critical);
        self.params.custom_extensions.push(extension);
        self
    }

    /// A certificate request (PKCS #10) for the same, signed by `key`. Serial number and validity are no part of it.
    #[must_use]
    pub fn request(self, key: &ForgeKey) -> Vec<u8> {
        let mut params = self.params;
        params.serial_number = None;
        let request = params.serialize_request(&key.0).expect("sign");
        request.der().to_vec()
    }

    /// Signed by its own key instead of an authority's.
    #[must_use]
    pub fn self_signed(self) -> Leaf {
        let key = ForgeKey::generate(KeyKind::P256);
        let certificate = self.params.self_signed(&key.0).expect("sign").into();
        Leaf {
            certificate,
            key: key.local(),
        }
    }
}

pub use rcgen::{ExtendedKeyUsagePurpose as ExtendedUsage, KeyUsagePurpose as Usage};
