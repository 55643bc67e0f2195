//! A job's life from the request to its end, through a real server.

use ringback::{Attempt, Output, Server, TaskError, TaskOptions};

use crate::support::{PATIENCE, Part, Target, TestServer, echo, eventually, files_below, gated};

#[test]
fn a_job_is_accepted_run_and_read() {
    let server = TestServer::start(echo());
    let parts =
        [Part::Field("color", "blue"), Part::File("file", "greeting.txt", "text/plain", b"hello")];
    let reply = server.post_form("/jobs", &parts);
    assert_eq!(reply.status, 202, "{reply:?}");
    let accepted = reply.json();
    let id = accepted["id"].as_str().expect("an id");
    assert_eq!(reply.header("location"), Some(format!("/jobs/{id}").as_str()));
    assert!(reply.header("retry-after").is_some());

    let job = server.finished(&format!("/jobs/{id}"));
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["data"], "hello");
    assert_eq!(job["task"], "echo");
    assert_eq!(job["attempt"], 1);
    assert_eq!(job["input"]["name"], "greeting.txt");
    assert_eq!(job["input"]["bytes"], 5);
    assert_eq!(
        job["input"]["sha256"],
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    let result = server.get(&format!("/jobs/{id}/result"));
    assert_eq!((result.status, result.text()), (200, "hello"));
    assert!(result.header("content-type").expect("a type").starts_with("text/plain"));
}

#[test]
fn a_large_input_reaches_the_task_as_a_file_and_is_gone_afterwards() {
    let server = TestServer::start(Server::builder().task("measure", |attempt: &Attempt| {
        let length = std::fs::metadata(attempt.input().path())?.len();
        Ok(Output::json(serde_json::json!({ "length": length })))
    }));
    let job = server.submit(&vec![7; 3_000_000]);
    assert_eq!(server.finished(&job)["data"]["length"], 3_000_000);
    eventually("the spooled input is deleted", || {
        (files_below(&server.folder().join("spool")) == 0).then_some(())
    });
}

#[test]
fn the_scratch_folder_ends_with_the_attempt() {
    let server = TestServer::start(Server::builder().task("keep", |attempt: &Attempt| {
        let path = attempt.input().path().to_owned();
        Ok(Output::text(path.to_string_lossy()))
    }));
    let job = server.finished(&server.submit(b"small"));
    let path = job["data"].as_str().expect("a path").to_owned();
    eventually("the scratch folder is deleted", || {
        (!std::path::Path::new(&path).exists()).then_some(())
    });
}

#[test]
fn a_file_is_an_output() {
    let server = TestServer::start(Server::builder().task("draw", |attempt: &Attempt| {
        let path = attempt.scratch()?.join("out.bin");
        std::fs::write(&path, vec![3; 200_000])?;
        Ok(Output::file(path, "drawing.bin", "application/x-drawing"))
    }));
    let job = server.submit(b"x");
    server.finished(&job);
    let result = server.get(&format!("{job}/result"));
    assert_eq!(result.status, 200);
    assert_eq!(result.header("content-type"), Some("application/x-drawing"));
    assert!(result.header("content-disposition").expect("a name").contains("drawing.bin"));
    assert_eq!(result.body, vec![3; 200_000]);
    assert_eq!(server.delete(&job).status, 204);
    eventually("the output file is deleted", || {
        (files_below(&server.folder().join("spool")) == 0).then_some(())
    });
}

#[test]
fn another_form_of_the_output_is_asked_for_by_name() {
    let server = TestServer::start(Server::builder().task("both", |_: &Attempt| {
        Ok(Output::text("plain").with_format("html", "text/html", "<b>plain</b>"))
    }));
    let job = server.submit(b"x");
    server.finished(&job);
    let html = server.get(&format!("{job}/result?format=html"));
    assert_eq!((html.status, html.text()), (200, "<b>plain</b>"));
    let other = server.get(&format!("{job}/result?format=pdf"));
    assert_eq!(other.status, 422);
    assert!(other.text().contains("html"), "the error names what there is: {other:?}");
}

#[test]
fn a_panic_ends_the_attempt_and_not_the_worker() {
    let builder = Server::builder().workers(1).max_attempts(1);
    let server = TestServer::start(builder.task("fuse", |attempt: &Attempt| {
        let bytes = attempt.input().bytes()?;
        assert!(bytes.as_ref() != b"bad", "a blown fuse");
        Ok(Output::text("fine"))
    }));
    let bad = server.finished(&server.submit(b"bad"));
    assert_eq!(bad["state"], "failed");
    assert_eq!(bad["error"]["code"], "panic");
    assert!(bad["error"]["message"].as_str().expect("text").contains("a blown fuse"));
    assert_eq!(server.finished(&server.submit(b"good"))["data"], "fine");
}

#[test]
fn a_retryable_error_is_tried_again_and_a_permanent_one_is_not() {
    let server = TestServer::start(Server::builder().task("shy", |attempt: &Attempt| {
        match (attempt.input().bytes()?.as_ref(), attempt.number()) {
            (b"broken", _) => Err(TaskError::permanent("never works").with_code("broken")),
            (_, 1) => Err(TaskError::retryable("not now")),
            (_, number) => Ok(Output::text(format!("attempt {number}"))),
        }
    }));
    let broken = server.submit(b"broken");
    let shy = server.submit(b"shy");
    let broken = server.finished(&broken);
    assert_eq!((broken["state"].as_str(), &broken["attempt"]), (Some("failed"), &1.into()));
    assert_eq!(broken["error"]["code"], "broken");
    let shy = server.finished(&shy);
    assert_eq!((shy["state"].as_str(), &shy["attempt"]), (Some("succeeded"), &2.into()));
    assert_eq!(shy["data"], "attempt 2");
}

#[test]
fn an_attempt_past_its_time_fails() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.attempt_timeout(std::time::Duration::from_millis(50)));
    let job = server.submit(b"x");
    gate.next();
    let job = server.finished(&job);
    assert_eq!(job["error"]["code"], "timeout");
}

#[test]
fn a_queued_job_is_canceled_and_never_begins() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let first = server.submit(b"1");
    let (first_id, _) = gate.next();
    let second = server.submit(b"2");
    let third = server.submit(b"3");
    assert_eq!(server.get(&second).json()["position"], 1);
    assert_eq!(server.get(&third).json()["position"], 2);
    assert_eq!(server.delete(&second).status, 200);
    assert_eq!(server.get(&second).json()["state"], "canceled");
    assert_eq!(server.get(&third).json()["position"], 1);
    gate.succeed("1");
    let (next, _) = gate.next();
    assert!(third.ends_with(&next.to_string()), "the canceled job is passed over");
    assert!(first.ends_with(&first_id.to_string()));
    gate.succeed("3");
    assert_eq!(server.finished(&third)["data"], "3");
}

#[test]
fn a_running_job_is_canceled_at_once_and_its_worker_goes_on() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let job = server.submit(b"1");
    gate.next();
    assert_eq!(server.get(&job).json()["state"], "running");
    assert_eq!(server.delete(&job).status, 200);
    assert_eq!(server.get(&job).json()["state"], "canceled");
    let next = server.submit(b"2");
    gate.next();
    gate.succeed("2");
    assert_eq!(server.finished(&next)["data"], "2");
    assert_eq!(server.get(&job).json()["state"], "canceled");
    assert_eq!(server.delete(&job).status, 204, "a finished job is forgotten");
    assert_eq!(server.get(&job).status, 404);
}

#[test]
fn a_waiting_poll_is_answered_when_the_job_ends() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder);
    let job = server.submit(b"1");
    gate.next();
    std::thread::scope(|scope| {
        let (asked, asks) = crossbeam_channel::bounded(4);
        for _ in 0..4 {
            let (server, job, asked) = (&server, &job, asked.clone());
            scope.spawn(move || {
                asked.send(server.get(&format!("{job}?wait=60"))).expect("the test listens");
            });
        }
        assert!(asks.try_recv().is_err(), "nobody is answered while the job runs");
        gate.succeed("done");
        for _ in 0..4 {
            let reply = asks.recv_timeout(PATIENCE).expect("an answer long before the minute");
            assert_eq!(reply.json()["data"], "done");
        }
    });
}

#[test]
fn progress_is_seen_while_a_job_runs() {
    let (begun, begins) = crossbeam_channel::bounded(1);
    let (go, goes) = crossbeam_channel::bounded::<()>(1);
    let server = TestServer::start(Server::builder().task("slow", move |attempt: &Attempt| {
        attempt.progress(0.25);
        begun.send(()).expect("the test listens");
        goes.recv_timeout(PATIENCE).expect("the test says go");
        Ok(Output::text("done"))
    }));
    let job = server.submit(b"1");
    begins.recv_timeout(PATIENCE).expect("it begins");
    let running = server.get(&job);
    assert_eq!(running.json()["progress"], 0.25);
    assert_eq!(running.json()["state"], "running");
    go.send(()).expect("the task waits");
    assert_eq!(server.finished(&job)["progress"], 1.0);
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let (builder, gate) = gated();
    let server = TestServer::start(builder.max_queued(2));
    let running = server.submit(b"1");
    gate.next();
    let (second, third) = (server.submit(b"2"), server.submit(b"3"));
    let refused = server.post("/jobs", "application/octet-stream", b"4");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.code(), "queue_full");
    let wait: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=60).contains(&wait));
    for (job, text) in [(&running, "1"), (&second, "2"), (&third, "3")] {
        gate.succeed(text);
        assert_eq!(server.finished(job)["data"], text);
    }
}

#[test]
fn a_task_says_what_it_takes() {
    let options = TaskOptions::new().accepts(["image/*"]).check_parameters(|parameters| {
        match parameters.get("size") {
            None | Some("small" | "large") => Ok(()),
            Some(other) => Err(format!("size is small or large, not {other:?}")),
        }
    });
    let server =
        TestServer::start(
            Server::builder().task_with("shrink", options, |_: &Attempt| Ok(Output::text("done"))),
        );
    let wrong_type = server.post("/jobs", "text/plain", b"x");
    assert_eq!((wrong_type.status, wrong_type.code().as_str()), (415, "unsupported_type"));
    assert!(wrong_type.text().contains("image/*"));
    let wrong_size = server.post("/jobs?size=huge", "image/png", b"x");
    assert_eq!((wrong_size.status, wrong_size.code().as_str()), (422, "bad_parameter"));
    assert!(wrong_size.text().contains("small or large"));
    let wrong_task = server.post("/jobs?task=grow", "image/png", b"x");
    assert_eq!((wrong_task.status, wrong_task.code().as_str()), (422, "unknown_task"));
    assert_eq!(server.post("/jobs?size=small", "image/png", b"x").status, 202);
}
