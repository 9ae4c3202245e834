//! Clients of AWS: one way to credentials for S3 and for the SDK's services.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::retry::RetryConfig as SdkRetry;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::aws::{AmazonS3Builder, AwsCredential};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::AwsAccess;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer; a long poll of SQS takes 20 s.
const ANSWER: Duration = Duration::from_secs(60);
/// How long credentials of S3 are used before the chain is asked again. What expires sooner is no use to anybody.
const KEEP: Duration = Duration::from_secs(300);

/// Region, credentials and limits of the SDK's clients. They never retry by themselves: the source does, visibly. The
/// endpoint is left to the client: what the environment says would win over it here.
pub async fn sdk_config(access: &AwsAccess) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ANSWER).build();
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).retry_config(SdkRetry::disabled()).timeout_config(timeouts);
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(file) = &access.credentials_file {
        loader = loader.credentials_provider(from_file(file, access.profile.as_deref().unwrap_or("default")));
    }
    let mut config = loader.load().await;
    if let Some(role) = &access.role_arn {
        // The role comes from the STS of the environment: `endpoint` is that of the service.
        let mut provider =
            aws_config::sts::AssumeRoleProvider::builder(role).session_name("polymeter").configure(&config);
        if let Some(id) = &access.external_id {
            provider = provider.external_id(id);
        }
        let provider = SharedCredentialsProvider::new(provider.build().await);
        config = config.into_builder().credentials_provider(provider).build();
    }
    config
}

#[expect(deprecated, reason = "the new names lie in a crate of the SDK that is none of ours")]
fn from_file(file: &Path, profile: &str) -> ProfileFileCredentialsProvider {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    let files = ProfileFiles::builder().with_file(ProfileFileKind::Credentials, file).build();
    ProfileFileCredentialsProvider::builder().profile_files(files).profile_name(profile).build()
}

/// Region, endpoint and static keys from the usual `AWS_*` variables; without static keys, or with a role, the AWS
/// credential chain (profile, SSO, web identity, container, instance).
pub(super) async fn s3(url: &Url, access: &AwsAccess) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(url.host_str().unwrap_or_default());
    let plain = |name: &str| std::env::var(name).is_ok_and(|value| value.starts_with("http://"));
    if plain("AWS_ENDPOINT_URL") || plain("AWS_ENDPOINT_URL_S3") || plain("AWS_ENDPOINT") {
        builder = builder.with_allow_http(true);
    }
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    if access.virtual_hosted {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if access.requester_pays {
        builder = builder.with_request_payer(true);
    }
    let no_keys = std::env::var_os("AWS_ACCESS_KEY_ID").is_none() && std::env::var_os("AWS_SKIP_SIGNATURE").is_none();
    if no_keys || access.has_own_credentials() {
        let config = sdk_config(access).await;
        if let Some(region) = config.region() {
            builder = builder.with_region(region.as_ref());
        }
        if let Some(chain) = config.credentials_provider() {
            builder = builder.with_credentials(Arc::new(AwsChain { chain, last: Mutex::new(None) }));
        }
    }
    if let Some(region) = &access.region {
        builder = builder.with_region(region);
    }
    builder
}

/// The AWS credential chain behind object_store's interface, which asks before every request.
#[derive(Debug)]
struct AwsChain {
    chain: SharedCredentialsProvider,
    last: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

#[async_trait::async_trait]
impl object_store::CredentialProvider for AwsChain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<Self::Credential>> {
        let mut last = self.last.lock().await;
        if let Some((at, keys)) = last.as_ref()
            && at.elapsed() < KEEP
        {
            return Ok(Arc::clone(keys));
        }
        let keys = self
            .chain
            .provide_credentials()
            .await
            .map_err(|source| object_store::Error::Generic { store: "S3", source: Box::new(source) })?;
        let keys = Arc::new(AwsCredential {
            key_id: keys.access_key_id().to_owned(),
            secret_key: keys.secret_access_key().to_owned(),
            token: keys.session_token().map(str::to_owned),
        });
        *last = Some((Instant::now(), Arc::clone(&keys)));
        Ok(keys)
    }
}
