//! TLS between the server and PostgreSQL: encryption and certificate verification.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::store::{NodeNotice, Store, read};
use rejoin_server::{PostgresUrl, ServerError};

use crate::world::TABLES;
use rejoin_postgres::{Cluster, ClusterOptions, Session};

const NOW: &str = "2026-11-20T08:00:00.000000Z";

/// A certificate authority: its certificate and signing key.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    (certificate, Issuer::new(params, key))
}

/// A PostgreSQL with a certificate for `localhost`, and the folder with `ca.pem`, its authority,
/// and `other.pem`.
fn secured() -> (Cluster, tempfile::TempDir) {
    let (ca, signs) = authority("the one");
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![String::from("localhost")]).unwrap();
    let certificate = params.signed_by(&key, &signs).unwrap().pem();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &ca).unwrap();
    std::fs::write(folder.path().join("other.pem"), authority("another").0).unwrap();
    let hba = "host all postgres 127.0.0.1/32 trust\n\
               hostssl all app 127.0.0.1/32 scram-sha-256\nhostssl all app ::1/128 scram-sha-256\n";
    let files =
        [("server.crt", certificate.as_str()), ("server.key", &key.serialize_pem()), ("hba", hba)];
    let options = ClusterOptions { files: &files, ..ClusterOptions::default() };
    let cluster = Cluster::start(&options).unwrap();
    let admin = Session::to(&cluster.url("postgres"));
    let on = ["ssl_cert_file = '../server.crt'", "ssl_key_file = '../server.key'", "ssl = on"];
    for setting in on {
        admin.run(&format!("ALTER SYSTEM SET {setting}"));
    }
    admin.run("SELECT pg_reload_conf()");
    admin.run("CREATE ROLE app LOGIN PASSWORD 'secret'");
    admin.run("CREATE DATABASE app OWNER app");
    Session::to(&cluster.url("app")).run(&format!("SET ROLE app; {TABLES}"));
    (cluster, folder)
}

/// A store with the role that may connect by TLS only.
fn store(cluster: &Cluster, host: &str, parameters: &str) -> Result<PostgresStore, ServerError> {
    let url = format!("postgres://app:secret@{host}:{}/app?{parameters}", cluster.port());
    PostgresStore::open(&PostgresUrl::from(url), &[], Duration::from_secs(5), NOW)
}

/// Whether this store's connection is encrypted, according to the database.
fn is_encrypted(cluster: &Cluster) -> String {
    let select = "SELECT string_agg(DISTINCT s.ssl::text || coalesce(' ' || s.version, ''), ', ') \
                  FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid) WHERE a.usename = 'app'";
    Session::to(&cluster.url("postgres")).one(select)
}

#[test]
fn certificate_is_verified_as_configured() {
    let (cluster, folder) = secured();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (ca, other) = (file("ca.pem"), file("other.pem"));
    let good = [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}")),
        ("127.0.0.1", String::from("sslmode=require")),
        ("127.0.0.1", String::from("sslmode=prefer")),
        // SCRAM is bound to the certificate: a proxy with another certificate is refused.
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}&channel_binding=require")),
    ];
    for (host, parameters) in good {
        let store =
            store(&cluster, host, &parameters).unwrap_or_else(|why| panic!("{parameters}: {why}"));
        assert!(read(&store, |reading| reading.log_state()).is_ok(), "{parameters}");
        assert_eq!(is_encrypted(&cluster), "true TLSv1.3", "{parameters}");
    }
    let bad = [
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), "UnknownIssuer"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), "not valid for name"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}"), "UnknownIssuer"),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={other}"), "UnknownIssuer"),
        ("localhost", String::from("sslmode=verify-full"), "UnknownIssuer"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}.gone"), ".gone"),
        // Without TLS the role is refused.
        ("127.0.0.1", String::from("sslmode=disable"), "28000"),
        ("127.0.0.1", String::from("application_name=x"), "28000"),
    ];
    for (host, parameters, why) in bad {
        let error = store(&cluster, host, &parameters).err().map(|error| error.to_string());
        let message = error.unwrap_or_else(|| panic!("{parameters}: taken"));
        assert!(message.contains(why), "{parameters}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn all_connections_are_encrypted() {
    let (cluster, folder) = secured();
    let ca = folder.path().join("ca.pem");
    let store =
        store(&cluster, "localhost", &format!("sslmode=verify-full&sslrootcert={}", ca.display()))
            .unwrap();
    let (sender, heads) = std::sync::mpsc::channel();
    store.listen(std::sync::Arc::new(move |head| sender.send(head).is_ok()));
    let admin = Session::to(&cluster.url("app"));
    let listens =
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN rejoin' AND state = 'idle'";
    while admin.one(listens) != "1" {
        std::thread::sleep(Duration::from_millis(10));
    }
    admin.run("INSERT INTO rejoin.bucket(user_id, bucket) VALUES('anna', 'team')");
    let pulse = store.pulse().unwrap();
    assert_eq!(heads.recv_timeout(Duration::from_secs(20)).unwrap(), NodeNotice::Head(pulse));
    assert_eq!(is_encrypted(&cluster), "true TLSv1.3");
}

#[test]
fn database_without_tls_is_refused_if_tls_is_required() {
    let cluster = super::cluster();
    for parameters in ["sslmode=require", "sslmode=verify-full"] {
        let url = cluster.url(&format!("postgres?{parameters}"));
        let opened = PostgresStore::open(&PostgresUrl::from(url), &[], Duration::from_secs(5), NOW);
        let message = opened.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("TLS"), "{parameters}: {message}");
    }
    let url = cluster.url("postgres?sslmode=prefer");
    assert!(PostgresStore::open(&PostgresUrl::from(url), &[], Duration::from_secs(5), NOW).is_ok());
}
