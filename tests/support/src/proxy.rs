//! A wire between two processes that a test can freeze or cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Listens on a free port of 127.0.0.1 and passes bytes on to another port, both ways.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wires: Arc<Wires>,
}

#[derive(Debug, Default)]
struct Wires {
    state: Mutex<State>,
    thawed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Connections up to this one pass nothing on any more.
    frozen: usize,
    /// Connections so far, with both of their ends.
    ends: Vec<[TcpStream; 2]>,
    /// Of each connection, whether its client was the last to say something.
    asked: Vec<bool>,
    exchanges: usize,
    is_over: bool,
}

impl Proxy {
    /// A proxy in front of a port of 127.0.0.1.
    pub fn start(to: u16) -> Self {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            Ok(listener) => listener,
            Err(error) => panic!("127.0.0.1 has no free port: {error}"),
        };
        let port = listener.local_addr().map_or(0, |address| address.port());
        let wires = Arc::<Wires>::default();
        let shared = Arc::clone(&wires);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if shared.lock().is_over {
                    return;
                }
                if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) {
                    shared.join(&near, &far);
                }
            }
        });
        Self { port, wires }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections there were so far.
    pub fn connections(&self) -> usize {
        self.wires.lock().ends.len()
    }

    /// Round trips so far: how often a client spoke after its server had, or first.
    pub fn exchanges(&self) -> usize {
        self.wires.lock().exchanges
    }

    /// From now on the connections there are pass nothing on, and neither end is told: what a cable
    /// that was pulled looks like. Connections that are made later work.
    pub fn freeze(&self) {
        let mut state = self.wires.lock();
        state.frozen = state.ends.len();
    }

    /// Cuts the connections there are; both ends are told.
    pub fn cut(&self) {
        for end in self.wires.lock().ends.iter().flatten() {
            // It may be closed already.
            let _closed = end.shutdown(Shutdown::Both);
        }
        self.wires.thawed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.wires.lock().is_over = true;
        self.cut();
        // Wakes the listener, which sees that it is over.
        let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl State {
    /// One end of a connection spoke.
    fn said(&mut self, number: usize, asks: bool) {
        if let Some(asked) = self.asked.get_mut(number.wrapping_sub(1)) {
            self.exchanges += usize::from(asks && !*asked);
            *asked = asks;
        }
    }
}

impl Wires {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, near: &TcpStream, far: &TcpStream) {
        let copies = [near.try_clone(), far.try_clone(), near.try_clone(), far.try_clone()];
        let [Ok(near_in), Ok(far_in), Ok(near_out), Ok(far_out)] = copies else { return };
        let number = {
            let mut state = self.lock();
            let (Ok(near), Ok(far)) = (near.try_clone(), far.try_clone()) else { return };
            state.ends.push([near, far]);
            state.asked.push(false);
            state.ends.len()
        };
        for (from, to, asks) in [(near_in, far_out, true), (far_in, near_out, false)] {
            let wires = Arc::clone(self);
            thread::spawn(move || wires.pass(number, asks, from, to));
        }
    }

    fn pass(&self, number: usize, asks: bool, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            let mut state = self.lock();
            state.said(number, asks);
            let frozen = |state: &mut State| state.frozen >= number && !state.is_over;
            drop(self.thawed.wait_while(state, frozen));
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        // The other way may still be open; both ends learn that this one is not.
        let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::Proxy;

    #[test]
    fn bytes_pass_until_the_wire_is_frozen_and_new_wires_work() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap().port());
        let connect = || {
            let near = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
            near.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            (near, server.accept().unwrap().0)
        };
        let said = |from: &mut TcpStream, to: &mut TcpStream| {
            from.write_all(b"a").unwrap();
            let mut byte = [0];
            to.read(&mut byte).ok().map(|count| (count, byte))
        };
        let (mut near, mut far) = connect();
        assert_eq!(said(&mut far, &mut near), Some((1, *b"a")));
        proxy.freeze();
        assert_eq!(said(&mut far, &mut near), None, "and nobody is told");
        let (mut second, mut other) = connect();
        assert_eq!(said(&mut other, &mut second), Some((1, *b"a")));
        assert_eq!(proxy.connections(), 2);
        assert_eq!(proxy.exchanges(), 0, "only servers have spoken");
        for _ in 0..2 {
            // What is asked in two pieces is one question.
            assert_eq!(said(&mut second, &mut other), Some((1, *b"a")));
            assert_eq!(said(&mut second, &mut other), Some((1, *b"a")));
            assert_eq!(said(&mut other, &mut second), Some((1, *b"a")));
        }
        assert_eq!(proxy.exchanges(), 2);
        proxy.cut();
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
    }
}
