//! A TCP proxy with a fixed port in front of the server, which can become unreachable or
//! unresponsive.

use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// How connections are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Forwarded to the server.
    Open(SocketAddr),
    /// Closed immediately.
    Shut,
    /// Accepted and never answered.
    Silent,
}

/// The current mode; every connection keeps a handle while it runs in that mode.
#[derive(Debug, Clone)]
struct Rule {
    way: Way,
    presence: mpsc::Sender<()>,
}

/// The proxy.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    /// Completes when the last connection of the current mode is closed.
    left: mpsc::Receiver<()>,
}

impl Gate {
    /// Starts a proxy on a free loopback port.
    pub(crate) async fn start(way: Way) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (presence, left) = mpsc::channel(1);
        let (rule, rules) = watch::channel(Rule { way, presence });
        tokio::spawn(listen(listener, rules));
        Ok(Self { address, rule, left })
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mode. Open connections are cut; returns when they are closed.
    pub(crate) async fn turn(&mut self, way: Way) {
        let (presence, left) = mpsc::channel(1);
        drop(self.rule.send_replace(Rule { way, presence }));
        while self.left.recv().await.is_some() {}
        self.left = left;
    }
}

async fn listen(listener: TcpListener, rules: watch::Receiver<Rule>) {
    while let Ok((connection, _)) = listener.accept().await {
        let mut rules = rules.clone();
        let Rule { way, presence } = rules.borrow_and_update().clone();
        tokio::spawn(async move {
            let _presence = presence;
            tokio::select! {
                _ = rules.changed() => {}
                _ = serve(way, connection) => {}
            }
        });
    }
}

async fn serve(way: Way, mut connection: TcpStream) -> std::io::Result<()> {
    match way {
        Way::Open(server) => {
            let mut behind = TcpStream::connect(server).await?;
            // Do not delay small responses.
            behind.set_nodelay(true)?;
            connection.set_nodelay(true)?;
            copy_bidirectional(&mut connection, &mut behind).await?;
        }
        Way::Shut => {}
        Way::Silent => {
            let mut buffer = [0; 4096];
            while connection.read(&mut buffer).await? > 0 {}
        }
    }
    Ok(())
}
