//! SIGHUP: the file of settings and the files of keys are read again.
//!
//! Owns the thread that does it, as reading and resolving may block, and the rule *all or nothing*:
//! if anything is wrong, all old settings stay in force.
//!
//! Invariant: of requests that come while one is under way at most one is carried out after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use encke::Handle;
use encke::config::{Kind, Reload, SETTINGS};

use crate::cli::{Arguments, Loaded};
use crate::logging::Logger;
use crate::systemd;

/// Requests that are known at a time: the one that is under way, and one after it.
const MAX_REQUESTS: usize = 2;

/// Reads the settings again on request.
#[derive(Clone)]
pub(crate) struct Reloader {
    shared: Arc<Shared>,
}

struct Shared {
    arguments: Arguments,
    /// The settings with which the server was bound.
    bound: Loaded,
    handle: Handle,
    logger: &'static Logger,
    requests: AtomicUsize,
}

impl Reloader {
    pub(crate) fn new(
        arguments: Arguments,
        bound: Loaded,
        handle: Handle,
        logger: &'static Logger,
    ) -> Reloader {
        let shared = Shared {
            arguments,
            bound,
            handle,
            logger,
            requests: AtomicUsize::new(0),
        };
        Reloader {
            shared: Arc::new(shared),
        }
    }

    /// Reads the settings again, on another thread, if there is a file to read.
    pub(crate) fn request(&self) {
        if !self.shared.bound.has_files() {
            let option = "there is no --config, and no file of keys";
            log::info!("SIGHUP: there is nothing to read again: {option}");
            return;
        }
        let one_more = |requests| (requests < MAX_REQUESTS).then_some(requests + 1);
        let requests = &self.shared.requests;
        let before = requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        if before != Ok(0) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("reload".into());
        let spawned = thread.spawn(move || while shared.run_one() {});
        if let Err(error) = spawned {
            requests.store(0, Ordering::Release);
            log::error!("cannot start the thread of a reload: {error}");
        }
    }
}

/// Resets the count of requests if a reload panics, so that later requests are not ignored.
struct ResetOnPanic<'s>(&'s AtomicUsize);

impl Drop for ResetOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(0, Ordering::Release);
        }
    }
}

impl Shared {
    /// Carries out one request, and returns whether there is another.
    fn run_one(&self) -> bool {
        let requests = ResetOnPanic(&self.requests);
        self.run();
        requests.0.fetch_sub(1, Ordering::AcqRel) > 1
    }

    fn run(&self) {
        systemd::notify_reloading();
        if let Err(error) = self.reload() {
            log::error!("reload: {error}; the old settings stay in force");
        }
        systemd::notify_reloaded();
    }

    fn reload(&self) -> Result<(), String> {
        let loaded = self.arguments.reload();
        let mut loaded = loaded.inspect_err(|_| self.handle.record_failed_reload())?;
        self.keep_addresses(&mut loaded);
        for warning in &loaded.warnings {
            log::warn!("{warning}");
        }
        let config = loaded.config().clone();
        let reloading = self
            .handle
            .reload(config)
            .map_err(|error| error.to_string())?;
        let of_config = reloading.needs_restart().to_vec();
        reloading.wait();
        self.logger.set_filter(&loaded.options.log);
        let needs_restart = self.needs_restart(of_config, &loaded);
        match &needs_restart[..] {
            [] => log::info!("reload: new settings are in force"),
            options => log::warn!(
                "reload: new settings are in force, but for those that need a restart: {}",
                options.join(", ")
            ),
        }
        Ok(())
    }

    /// Takes over addresses that are given as before, whose names need not be resolved again.
    fn keep_addresses(&self, loaded: &mut Loaded) {
        for setting in SETTINGS {
            if let Kind::Addresses { get, set } = &setting.kind
                && loaded.is_given_as_in(&self.bound, setting)
            {
                let addresses = get(self.bound.config()).to_vec();
                set(&mut loaded.options.config, addresses);
            }
        }
    }

    /// The options that were to change and cannot: those of the server, and those of the process.
    fn needs_restart(&self, of_config: Vec<&'static str>, loaded: &Loaded) -> Vec<&'static str> {
        let is_changed = |setting: &&encke::config::Setting| {
            let values = [&self.bound, loaded].map(|loaded| setting.values(&loaded.options));
            let is_of_process = matches!(setting.kind, Kind::Text { .. });
            setting.reload == Reload::Fixed && is_of_process && values[0] != values[1]
        };
        let of_process = SETTINGS.iter().filter(is_changed);
        let of_process = of_process.map(|setting| setting.option);
        of_config.into_iter().chain(of_process).collect()
    }
}
