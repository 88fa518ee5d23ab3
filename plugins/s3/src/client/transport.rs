//! TCP connections that answer at once.
//!
//! Some servers write the head and the body of an answer apart and leave Nagle's algorithm
//! on; together with a delayed acknowledgement on this side that costs 40 ms an object. So on
//! Linux acknowledgements are asked for at once, before each read, since the kernel forgets.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::Timeout;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

/// Shortest time for one of several addresses of a host.
const MIN_ADDRESS_TIMEOUT: Duration = Duration::from_millis(10);

/// Opens such connections, unless a proxy has opened one.
#[derive(Debug, Default)]
pub(super) struct QuickConnector;

impl<In: Transport> Connector<In> for QuickConnector {
    type Out = Either<In, QuickTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(open) = chained {
            return Ok(Some(Either::A(open)));
        }
        let stream = connect(details)?;
        stream.set_nodelay(true)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(QuickTransport { stream, buffers })))
    }
}

/// Tries the addresses in turn, each with half of the time that is left, the last with all.
fn connect(details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
    let limit = details.timeout.not_zero().map(|limit| *limit);
    let started = Instant::now();
    let mut last = Error::ConnectionFailed;
    for (index, address) in details.addrs.iter().enumerate() {
        let attempt = match limit {
            None => TcpStream::connect(address),
            Some(limit) => {
                let left = limit.saturating_sub(started.elapsed());
                let is_last = index + 1 == details.addrs.len();
                let share = if is_last { left } else { left / 2 };
                TcpStream::connect_timeout(address, share.max(MIN_ADDRESS_TIMEOUT))
            }
        };
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = told(error, Timeout::Connect),
        }
    }
    Err(last)
}

/// One connection.
#[derive(Debug)]
pub(super) struct QuickTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for QuickTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(limit(timeout)?)?;
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(|error| told(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(limit(timeout)?)?;
        acknowledge_at_once(&self.stream);
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| told(error, timeout.reason))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// An idle connection has nothing to say; one that does, or that was closed, is no use.
    fn is_open(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let quiet = matches!(
            self.stream.read(&mut [0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        );
        quiet && self.stream.set_nonblocking(false).is_ok()
    }
}

/// The time that is left, `None` without a limit.
fn limit(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    if timeout.after.is_not_happening() {
        return Ok(None);
    }
    match *timeout.after {
        Duration::ZERO => Err(Error::Timeout(timeout.reason)),
        left => Ok(Some(left)),
    }
}

/// A limit that was reached shows as either of two kinds, by the system.
fn told(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}

#[cfg(target_os = "linux")]
fn acknowledge_at_once(stream: &TcpStream) {
    // Without it everything works, slower with some servers.
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_stream: &TcpStream) {}
