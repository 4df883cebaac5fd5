//! Who may do what, route by route.

use crate::{World, problem};
use http::{Method, StatusCode};
use signet_decision::{ActionClass, Role};
use signet_surface_admin::{Route, routes};
use std::collections::HashSet;

/// A path that the route serves.
fn path(route: &Route) -> String {
    let name = if route.path.contains("/nodes/") {
        "spiffe%3A%2F%2Fdev.test%2Fn"
    } else {
        "00000000000000000000000000000000"
    };
    route.path.replace("{id}", name)
}

#[tokio::test]
async fn a_reader_changes_nothing_and_reads_everything() {
    let world = World::with([Role::Auditor]).await;
    let before = world.registry.followed().seq();
    for route in routes() {
        let reply = world.send(route.method.clone(), &path(route), &[], "").await;
        let shown = format!("{} {}", route.method, route.path);
        match route.action.class() {
            ActionClass::Read => assert_ne!(reply.status, StatusCode::FORBIDDEN, "{shown}"),
            ActionClass::Change | ActionClass::Issue => {
                let problem = problem(&reply, 403, "SGAD003");
                let minting = route.path.starts_with("/api/v1/mint/");
                assert_eq!(route.action.class() == ActionClass::Issue, minting, "{shown}");
                let role = if minting {
                    "minter or administrator"
                } else {
                    "administrator"
                };
                assert_eq!(problem.remedy, format!("it needs the role {role}"), "{shown}");
            }
        }
    }
    assert_eq!(world.registry.followed().seq(), before);
}

#[tokio::test]
async fn a_minter_obtains_credentials_and_nothing_else() {
    let world = World::with([Role::Minter]).await;
    for route in routes() {
        let reply = world.send(route.method.clone(), &path(route), &[], "").await;
        let shown = format!("{} {}", route.method, route.path);
        match route.action.class() {
            ActionClass::Issue => assert_ne!(reply.status, StatusCode::FORBIDDEN, "{shown}"),
            ActionClass::Read | ActionClass::Change => {
                problem(&reply, 403, "SGAD003");
            }
        }
    }
}

#[tokio::test]
async fn somebody_without_a_role_gets_nothing() {
    let world = World::with([]).await;
    let before = world.registry.followed().seq();
    for route in routes() {
        let reply = world.send(route.method.clone(), &path(route), &[], "").await;
        problem(&reply, 403, "SGAD002");
    }
    // Not even which routes there are.
    problem(&world.get("/api/v1/nowhere").await, 403, "SGAD002");
    let reply = world.send(Method::PATCH, "/api/v1/entries", &[], "").await;
    problem(&reply, 403, "SGAD002");
    // A body that nobody will look at does not take the answer away.
    let reply = world
        .send(Method::POST, "/api/v1/entries/batch", &[], vec![b'x'; 60 << 10])
        .await;
    problem(&reply, 403, "SGAD002");
    assert_eq!(world.registry.followed().seq(), before);
}

#[tokio::test]
async fn every_route_of_the_table_is_served_to_an_administrator() {
    let world = World::new().await;
    for route in routes() {
        let reply = world.send(route.method.clone(), &path(route), &[], "").await;
        assert_ne!(reply.status, StatusCode::FORBIDDEN);
        assert_ne!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(
            reply.status != 404 || !String::from_utf8_lossy(&reply.body).contains("SGAD004"),
            "{} {}",
            route.method,
            route.path
        );
    }
}

#[test]
fn the_table_says_what_its_routes_do() {
    let reading = [Method::GET, Method::HEAD];
    // Asks with a list that is too long for a query.
    let asking = [(Method::POST, "/api/v1/entries/plan")];
    let mut seen = HashSet::new();
    for route in routes() {
        assert!(route.path.starts_with("/api/v1/"), "{}", route.path);
        assert!(
            seen.insert((route.method.clone(), route.path)),
            "{} twice",
            route.path
        );
        let reads = route.action.class() == ActionClass::Read;
        assert_eq!(
            reads,
            reading.contains(&route.method) || asking.contains(&(route.method.clone(), route.path)),
            "{} {}",
            route.method,
            route.path
        );
    }
}
