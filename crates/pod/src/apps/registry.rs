//! The registered apps as requests find them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adea_accounts::apps::{self, App, AppRoles};
use adea_store::{EngineError, View};
use parking_lot::RwLock;

use crate::error::PodError;
use crate::pod::Pod;

/// The registered apps in memory.
#[derive(Default)]
pub(crate) struct AppRegistry {
    /// Whether there are any: most servers have none, and pay nothing.
    any: AtomicBool,
    known: RwLock<Arc<Registered>>,
}

/// An app, and the roles that it gives.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) app: Arc<App>,
    pub(crate) roles: AppRoles,
}

#[derive(Debug, Default)]
struct Registered {
    by_id: HashMap<String, Arc<Known>>,
    by_domain: HashMap<String, Arc<Known>>,
}

impl Registered {
    fn read(view: &dyn View) -> Result<Self, EngineError> {
        let mut registered = Self::default();
        for app in apps::all(view)? {
            let known = Arc::new(Known {
                roles: AppRoles::of(&app.id),
                app: Arc::new(app),
            });
            for domain in &known.app.domains {
                let domain = domain.clone();
                registered.by_domain.insert(domain, Arc::clone(&known));
            }
            registered.by_id.insert(known.app.id.clone(), known);
        }
        Ok(registered)
    }
}

impl AppRegistry {
    /// Reads what is registered.
    pub(crate) fn load(view: &dyn View) -> Result<Self, EngineError> {
        let registered = Registered::read(view)?;
        Ok(Self {
            any: AtomicBool::new(!registered.by_id.is_empty()),
            known: RwLock::new(Arc::new(registered)),
        })
    }

    /// The app `id`.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Known>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.known.read().by_id.get(id).cloned()
    }

    /// The app that `host` stands for, in its normal form.
    pub(crate) fn of_host(&self, host: &str) -> Option<Arc<Known>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.known.read().by_domain.get(host).cloned()
    }

    /// All apps, in the order of their ids, from behind `after` on.
    pub(crate) fn list(&self, after: Option<&str>, limit: usize) -> Vec<Arc<App>> {
        let known = self.known.read();
        let behind = known.by_id.values();
        let behind = behind.filter(|known| after.is_none_or(|after| known.app.id.as_str() > after));
        let mut found: Vec<Arc<App>> = behind.map(|known| Arc::clone(&known.app)).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found.truncate(limit);
        found
    }
}

impl Pod {
    /// Puts in force what a commit changed of the registered apps. Databases are found anew, since they
    /// may have gone from one owner to another.
    pub(super) fn reread_apps(&self) -> Result<(), PodError> {
        {
            let registry = &self.inner.apps;
            let mut known = registry.known.write();
            // Under the lock, so that of two that read at once the later one has the newer view.
            let registered = Registered::read(self.view().as_ref())?;
            registry
                .any
                .store(!registered.by_id.is_empty(), Ordering::Release);
            *known = Arc::new(registered);
        }
        self.inner.databases.forget_all();
        Ok(())
    }
}
