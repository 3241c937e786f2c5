use std::fs;
use std::path::{Path, PathBuf};

use pkcs8::der::pem::PemLabel;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::KafkaError;

/// The password of the client's encrypted key.
const KEY_PASSWORD: &str = "key-secret";
/// The only name in the server's certificate; clients that connect to 127.0.0.1 must refuse it.
const SERVER_NAME: &str = "localhost";

/// Certificates and keys of a [`Kafka`](super::Kafka), P-256, in PEM files.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority that signed the server's and the client's certificate.
    pub ca: PathBuf,
    /// The client's certificate, for the listener with mTLS.
    pub client_certificate: PathBuf,
    /// The client's key: PKCS#8, not encrypted.
    pub client_key: PathBuf,
    /// The client's key, encrypted: PKCS#8 with PBES2, PBKDF2 with SHA-256, AES-256-CBC.
    pub encrypted_client_key: PathBuf,
    /// The password of the encrypted key.
    pub client_key_password: &'static str,
    /// An authority that signed none of the certificates.
    pub stranger_ca: PathBuf,
    /// The server's key and certificate, for `localhost` only.
    pub server: PathBuf,
}

impl Certificates {
    /// Returns the certificates in a folder, which is created unless it exists.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, KafkaError> {
        if !folder.exists() {
            let draft = folder.with_extension("draft");
            fs::create_dir_all(&draft).map_err(KafkaError::file(&draft))?;
            Self::files(&draft).make()?;
            fs::rename(&draft, folder).map_err(KafkaError::file(folder))?;
        }
        Ok(Self::files(folder))
    }

    fn files(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            client_certificate: folder.join("client.pem"),
            client_key: folder.join("client-key.pem"),
            encrypted_client_key: folder.join("client-key-encrypted.pem"),
            client_key_password: KEY_PASSWORD,
            stranger_ca: folder.join("stranger-ca.pem"),
            server: folder.join("server.pem"),
        }
    }

    fn make(&self) -> Result<(), KafkaError> {
        let ca = authority("kc test authority")?;
        write(&self.ca, &ca.pem())?;
        write(&self.stranger_ca, &authority("kc test stranger")?.pem())?;

        let server_key = KeyPair::generate()?;
        let mut server = leaf(SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth);
        server.subject_alt_names = vec![SanType::DnsName(SERVER_NAME.try_into()?)];
        let server = server.signed_by(&server_key, &ca)?;
        write(&self.server, &(server_key.serialize_pem() + &server.pem()))?;

        let client_key = KeyPair::generate()?;
        let client = leaf("kc test client", ExtendedKeyUsagePurpose::ClientAuth);
        let client = client.signed_by(&client_key, &ca)?;
        write(&self.client_certificate, &client.pem())?;
        write(&self.client_key, &client_key.serialize_pem())?;
        write(&self.encrypted_client_key, &encrypted(&client_key)?)
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn leaf(name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn encrypted(key: &KeyPair) -> Result<String, pkcs8::Error> {
    const ROUNDS: u32 = 10_000;
    let (salt, iv): ([u8; 16], [u8; 16]) = (rand::random(), rand::random());
    let parameters = Parameters::pbkdf2_sha256_aes256cbc(ROUNDS, &salt, &iv)?;
    let key = key.serialize_der();
    let encrypted =
        PrivateKeyInfo::try_from(key.as_slice())?.encrypt_with_params(parameters, KEY_PASSWORD)?;
    let pem = encrypted.to_pem(EncryptedPrivateKeyInfo::PEM_LABEL, LineEnding::LF)?;
    Ok(pem.to_string())
}

fn write(path: &Path, pem: &str) -> Result<(), KafkaError> {
    fs::write(path, pem).map_err(KafkaError::file(path))
}

#[cfg(test)]
mod tests {
    use pkcs8::SecretDocument;

    use super::*;

    #[test]
    fn encrypted_key_is_the_plain_one() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(&folder.path().join("certificates")).unwrap();
        let (_, plain) = SecretDocument::read_pem_file(&certificates.client_key).unwrap();
        let (label, encrypted) =
            SecretDocument::read_pem_file(&certificates.encrypted_client_key).unwrap();
        assert_eq!(label, "ENCRYPTED PRIVATE KEY");
        let encrypted = EncryptedPrivateKeyInfo::try_from(encrypted.as_bytes()).unwrap();
        let decrypted = encrypted.decrypt(certificates.client_key_password).unwrap();
        assert_eq!(decrypted.as_bytes(), plain.as_bytes());
    }

    #[test]
    fn certificates_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("certificates");
        let read = || fs::read(Certificates::in_folder(&folder).unwrap().ca).unwrap();
        assert_eq!(read(), read());
    }
}
