//! Clients of Google Cloud Storage, for sources only.

use object_store::gcp::GoogleCloudStorageBuilder;
use url::Url;

use super::AwsAccess;

/// What the environment says (`GOOGLE_*`, application default credentials, the machine's account), and a file of
/// credentials where the source names one.
pub(super) fn bucket(url: &Url, access: &AwsAccess) -> GoogleCloudStorageBuilder {
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(url.host_str().unwrap_or_default());
    match &access.credentials_file {
        Some(file) => builder.with_application_credentials(file.display().to_string()),
        None => builder,
    }
}
