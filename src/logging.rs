//! The log on standard error, whose filter a reload can change.
//!
//! Owns the process's logger: the format of `env_logger`, behind a filter of our own.

use std::sync::RwLock;

use env_filter::Filter;
use log::{LevelFilter, Log, Metadata, Record};

/// The logger of the process.
pub(crate) struct Logger {
    filter: RwLock<Filter>,
    writer: env_logger::Logger,
}

impl Logger {
    /// Makes a logger with this filter, and makes it the process's.
    ///
    /// # Panics
    ///
    /// The process has one already.
    pub(crate) fn install(filter: &str) -> &'static Logger {
        let writer = env_logger::Builder::new()
            .filter_level(LevelFilter::Trace)
            .format_timestamp_millis()
            .build();
        let logger: &'static Logger = Box::leak(Box::new(Logger {
            filter: RwLock::new(parse(filter)),
            writer,
        }));
        logger.set_filter(filter);
        log::set_logger(logger).expect("the process has no logger yet");
        logger
    }

    /// Sets another filter, which was checked.
    pub(crate) fn set_filter(&self, filter: &str) {
        let filter = parse(filter);
        log::set_max_level(filter.filter());
        // A thread that panicked while it held the lock has changed nothing.
        *self.filter.write().unwrap_or_else(|lock| lock.into_inner()) = filter;
    }

    fn with_filter<T>(&self, ask: impl FnOnce(&Filter) -> T) -> T {
        ask(&self.filter.read().unwrap_or_else(|lock| lock.into_inner()))
    }
}

fn parse(filter: &str) -> Filter {
    env_filter::Builder::new().parse(filter).build()
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.with_filter(|filter| filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if self.with_filter(|filter| filter.matches(record)) {
            self.writer.log(record);
        }
    }

    fn flush(&self) {
        self.writer.flush();
    }
}
