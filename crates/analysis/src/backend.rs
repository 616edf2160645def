//! What is behind a Service: the pods that it selects, or what EndpointSlices tell of one that selects none.

use std::collections::HashMap;
use std::net::IpAddr;

use tortie_manifest::ObjectSet;
use tortie_model::{EndpointSlice, Pod, Service, ServicePort, TargetPort};

/// Where a port of a Service leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend<'a> {
    /// A pod, and its port.
    Pod(&'a Pod, u16),
    /// An address of no pod in the input, and its port.
    Address(IpAddr, u16),
}

/// The backends of all Services of a cluster.
#[derive(Debug)]
pub struct Backends<'a> {
    /// Sorted by namespace, as an [`ObjectSet`] has them.
    pods: &'a [Pod],
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
    /// Pods by address; empty where no slice could ask.
    by_address: HashMap<IpAddr, &'a Pod>,
}

impl<'a> Backends<'a> {
    /// What is behind the Services of these objects.
    #[must_use]
    pub fn new(objects: &'a ObjectSet) -> Self {
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for slice in &objects.endpoint_slices {
            if let Some(service) = &slice.service {
                slices.entry((&*slice.meta.namespace, &**service)).or_default().push(slice);
            }
        }
        let asked = if slices.is_empty() { &[][..] } else { &objects.pods[..] };
        let own = asked.iter().filter(|p| !p.host_network);
        let by_address = own.flat_map(|p| p.ips.iter().map(move |ip| (*ip, p))).collect();
        Self { pods: &objects.pods, slices, by_address }
    }

    /// The pods that a Service selects, ready or not.
    pub fn selected(&self, service: &Service) -> impl Iterator<Item = &'a Pod> {
        let from = self.pods.partition_point(|p| p.meta.namespace < service.meta.namespace);
        let to = self.pods.partition_point(|p| p.meta.namespace <= service.meta.namespace);
        let selector = service.selector.clone();
        self.pods[from..to].iter().filter(move |p| selector.as_ref().is_some_and(|s| s.matches(&p.meta.labels)))
    }

    /// The pods that are behind a Service on some port: those that it selects and are ready, or those of its slices.
    #[must_use]
    pub fn pods(&self, service: &Service) -> Vec<&'a Pod> {
        if service.selector.is_some() {
            return self.selected(service).filter(|p| p.ready || service.publish_not_ready).collect();
        }
        let mut out: Vec<&Pod> = Vec::new();
        for backend in service.ports.iter().flat_map(|port| self.told(service, port)) {
            if let Backend::Pod(pod, _) = backend
                && !out.iter().any(|known| std::ptr::eq(*known, pod))
            {
                out.push(pod);
            }
        }
        out
    }

    /// Where a port of a Service leads. A named target port leads to those pods that have a port of the name.
    #[must_use]
    pub fn of(&self, service: &Service, port: &ServicePort) -> Vec<Backend<'a>> {
        if service.selector.is_none() {
            return self.told(service, port);
        }
        let serving = self.selected(service).filter(|p| p.ready || service.publish_not_ready);
        let at = |pod: &'a Pod| match &port.target {
            TargetPort::Number(number) => Some(Backend::Pod(pod, *number)),
            TargetPort::Name(name) => pod.named_port(name, port.protocol).map(|number| Backend::Pod(pod, number)),
        };
        serving.filter_map(at).collect()
    }

    /// What slices tell of a port: those with its name, whatever the Service says of target ports.
    fn told(&self, service: &Service, port: &ServicePort) -> Vec<Backend<'a>> {
        let mut found = Vec::new();
        let key = (&*service.meta.namespace, &*service.meta.name);
        for slice in self.slices.get(&key).into_iter().flatten() {
            let own = slice.ports.iter().find(|p| p.name == port.name && p.protocol == port.protocol);
            let Some(number) = own.map(|p| p.port.unwrap_or(port.port)) else { continue };
            for endpoint in slice.endpoints.iter().filter(|e| e.ready || service.publish_not_ready) {
                let named = endpoint.pod.as_ref().and_then(|name| self.pod(&slice.meta.namespace, name));
                for address in &endpoint.addresses {
                    let backend = match named.or_else(|| self.by_address.get(address).copied()) {
                        Some(pod) => Backend::Pod(pod, number),
                        None => Backend::Address(*address, number),
                    };
                    if !found.contains(&backend) {
                        found.push(backend);
                    }
                }
            }
        }
        found
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<&'a Pod> {
        let key = |p: &Pod| (*p.meta.namespace).cmp(namespace).then_with(|| (*p.meta.name).cmp(name));
        self.pods.binary_search_by(key).ok().map(|i| &self.pods[i])
    }
}
