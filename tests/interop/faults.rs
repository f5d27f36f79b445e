//! What the machine does to a server: it is killed, its disk is full, its descriptors run out.

use std::fs;
use std::net::TcpStream;

use streamway::objects::PART_BYTES;
use streamway::proto::stream_service::StreamServiceClient;
use streamway::proto::{Image, StreamImageList, StreamSumData, UploadResponse};
use streamway::{Channel, Code, Status};

use super::exports::id;
use super::records::{assert_same, export, exported, stored};
use super::servers::Serve;
use super::uploads::sizes;

#[test]
fn an_export_whose_server_is_killed_is_a_beginning_and_the_rest_can_be_had() {
    let data = tempfile::tempdir().expect("a folder");
    let serve = Serve::start(data.path(), &[]);
    let cut = export(&serve.addr, &[]);
    let first = cut.line();
    // SIGKILL.
    drop(serve);
    let (more, said) = cut.finish().exit_code(64 + 14);
    assert!(said.contains("error: UNAVAILABLE: "), "{said}");

    let begin = [vec![first], more].concat();
    let orders = stored(data.path());
    assert!(begin.len() < orders.len());
    let serve = Serve::start(data.path(), &[]);
    let rest = exported(&serve.addr, &["--after-id", &id(&begin)]);
    assert_same(&[begin, rest].concat(), &orders);
}

/// No file may grow beyond 2 MiB, which is what a full disk looks like from within, but can be had without one.
#[tokio::test]
async fn an_upload_to_a_full_disk_fails_leaves_nothing_and_the_next_is_stored() {
    let data = tempfile::tempdir().expect("a folder");
    let full = "trap '' XFSZ; ulimit -f 4096";
    let serve = Serve::within(full, data.path(), &["--sample-orders", "3"]);
    let client = client(&serve);
    let status = upload(&client, 5 * 1024 * 1024).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    for folder in ["images", "staging"] {
        let left = fs::read_dir(data.path().join(folder)).expect("a folder");
        assert_eq!(left.count(), 0, "{folder}");
    }
    let megabyte = 1024 * 1024;
    let stored = upload(&client, megabyte).await.expect("there is room");
    assert_eq!(stored.files[0].size, megabyte as u64);
    assert_eq!(sizes(&data.path().join("images")), [megabyte as u64]);
}

#[tokio::test]
async fn without_descriptors_calls_go_on_uploads_fail_and_all_is_well_when_there_are_some() {
    let data = tempfile::tempdir().expect("a folder");
    let few = "ulimit -n 48";
    let args = ["--sample-orders", "3", "--log", "warn"];
    let serve = Serve::within(few, data.path(), &args);
    let client = client(&serve);
    sum(&client).await.expect("served");
    let idle: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(&serve.addr).expect("the kernel takes it"))
        .collect();
    serve.running.said("cannot accept a connection");
    let before = serve.running.cpu();
    sum(&client)
        .await
        .expect("a connection that is there goes on");
    let status = upload(&client, 1000).await.expect_err("no descriptor");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let spent = serve.running.cpu() - before;
    println!("without descriptors: {spent:?} of CPU while two calls were served");

    drop(idle);
    upload(&client, 1000).await.expect("there are descriptors");
    sum(&self::client(&serve)).await.expect("a new connection");
}

fn client(serve: &Serve) -> StreamServiceClient {
    let address = format!("http://{}", serve.addr);
    StreamServiceClient::new(Channel::connect(&address).expect("an address"))
}

async fn sum(client: &StreamServiceClient) -> Result<(), Status> {
    let mut sums = client.sum_data().start().await?;
    let one = StreamSumData {
        number: 1,
        ..Default::default()
    };
    sums.send(&one).await?;
    let mut responses = sums.finish();
    while responses.message().await?.is_some() {}
    Ok(())
}

/// Uploads one file of so many bytes.
async fn upload(client: &StreamServiceClient, bytes: usize) -> Result<UploadResponse, Status> {
    let mut upload = client.upload_file().start().await?;
    for part in vec![7; bytes].chunks(PART_BYTES) {
        let image = Image {
            file_name: "seven.bin".to_owned(),
            content: part.to_vec(),
            ..Image::default()
        };
        let part = StreamImageList { image: Some(image) };
        if upload.send(&part).await.is_err() {
            // Answered already; the answer says why.
            break;
        }
    }
    upload.finish().await
}
