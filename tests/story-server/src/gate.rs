//! The address that devices know: a door before the server that can be shut, and that keeps its number meanwhile.

use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// What happens to who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Led on to the server behind.
    Open(SocketAddr),
    /// Sent away at once.
    Shut,
    /// Listened to, and never answered.
    Silent,
}

/// A way, and what every connection holds for as long as it goes that way.
#[derive(Debug, Clone)]
struct Rule {
    way: Way,
    presence: mpsc::Sender<()>,
}

/// The door.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    rule: watch::Sender<Rule>,
    /// Ends when the last connection of the present rule is gone.
    left: mpsc::Receiver<()>,
}

impl Gate {
    /// A door on a free loopback port.
    pub(crate) async fn start(way: Way) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (presence, left) = mpsc::channel(1);
        let (rule, rules) = watch::channel(Rule { way, presence });
        tokio::spawn(listen(listener, rules));
        Ok(Self { address, rule, left })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Another way for whoever comes; who is inside is cut off, and gone when this ends.
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
            // Small answers are not held back for company.
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
