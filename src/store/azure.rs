//! Clients of Azure Blob storage.

use object_store::ClientOptions;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use url::Url;

use super::{AzureAccess, AzureAuth, StoreError};

/// What the environment says, and on top of it what `access` does.
pub(super) fn blob(url: &Url, access: &AzureAccess) -> Result<MicrosoftAzureBuilder, StoreError> {
    let mut builder = match access.auth {
        AzureAuth::Environment => MicrosoftAzureBuilder::from_env(),
        // A key that happens to be in the environment must not win over what was asked for.
        _ => MicrosoftAzureBuilder::new(),
    };
    // abfss://container@account.dfs.core.windows.net/prefix and az://container/prefix
    if url.scheme().starts_with("abfs") && !url.username().is_empty() {
        builder = builder.with_container_name(url.username());
        if let Some(account) = url.host_str().and_then(|host| host.split('.').next()) {
            builder = builder.with_account(account);
        }
    } else {
        builder = builder.with_container_name(url.host_str().unwrap_or_default());
    }
    if let Some(account) = &access.storage_account {
        builder = builder.with_account(account);
    }
    builder = log_in(builder, access)?;
    if std::env::var_os("AZURITE_BLOB_STORAGE_URL").is_some() {
        return Ok(builder.with_use_emulator(true).with_client_options(ClientOptions::new().with_allow_http(true)));
    }
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    if let Some(endpoint) = &access.endpoint {
        builder = builder.with_endpoint(endpoint.clone()).with_allow_http(endpoint.starts_with("http://"));
    } else if let Some(account) = account
        && access.cloud != super::AzureCloud::Public
    {
        builder = builder.with_endpoint(format!("https://{account}.blob.{}", access.cloud.storage_suffix()));
    }
    Ok(builder)
}

fn log_in(mut builder: MicrosoftAzureBuilder, access: &AzureAccess) -> Result<MicrosoftAzureBuilder, StoreError> {
    if let Some(tenant) = &access.tenant_id {
        builder = builder.with_tenant_id(tenant);
    }
    if let Some(client) = &access.client_id {
        builder = builder.with_client_id(client);
    }
    if access.auth != AzureAuth::Environment || access.cloud != super::AzureCloud::Public || access.authority.is_some()
    {
        let authority = access.authority.as_deref().unwrap_or_else(|| access.cloud.authority());
        builder = builder.with_authority_host(authority);
    }
    let secret = || {
        let named = access.secret.as_ref();
        named.ok_or_else(|| StoreError::Secret { place: "the source".to_owned(), why: "names no secret".to_owned() })
    };
    Ok(match access.auth {
        AzureAuth::Environment => builder,
        AzureAuth::Key => builder.with_access_key(secret()?.read()?),
        AzureAuth::Sas => {
            let sas = secret()?.read()?;
            builder.with_config(AzureConfigKey::SasKey, sas.trim_start_matches('?'))
        }
        AzureAuth::ClientSecret => builder.with_client_secret(secret()?.read()?),
        AzureAuth::WorkloadIdentity => {
            // Kubernetes sets these in the pod.
            for (key, name) in
                [(AzureConfigKey::AuthorityId, "AZURE_TENANT_ID"), (AzureConfigKey::ClientId, "AZURE_CLIENT_ID")]
            {
                if builder.get_config_value(&key).is_none()
                    && let Ok(value) = std::env::var(name)
                {
                    builder = builder.with_config(key, value);
                }
            }
            let file = std::env::var("AZURE_FEDERATED_TOKEN_FILE")
                .unwrap_or_else(|_| "/var/run/secrets/azure/tokens/azure-identity-token".to_owned());
            builder.with_federated_token_file(file)
        }
        AzureAuth::ManagedIdentity => match std::env::var("IDENTITY_ENDPOINT") {
            Ok(endpoint) => builder.with_msi_endpoint(endpoint),
            Err(_) => builder,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::{AzureCloud, Secret};
    use super::*;

    fn built(access: &AzureAccess) -> MicrosoftAzureBuilder {
        blob(&Url::parse("az://insights-logs-requestresponse/").unwrap(), access).unwrap()
    }

    #[test]
    fn another_cloud_means_other_hosts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "?sv=1&sig=abc\n").unwrap();
        let access = AzureAccess {
            storage_account: Some("acme".to_owned()),
            cloud: AzureCloud::China,
            auth: AzureAuth::Sas,
            secret: Some(Secret::File(file.path().to_owned())),
            ..AzureAccess::default()
        };
        let builder = built(&access);
        let value = |key| builder.get_config_value(&key);
        assert_eq!(value(AzureConfigKey::Endpoint).as_deref(), Some("https://acme.blob.core.chinacloudapi.cn"));
        assert_eq!(value(AzureConfigKey::AuthorityHost).as_deref(), Some("https://login.chinacloudapi.cn"));
        assert_eq!(value(AzureConfigKey::SasKey).as_deref(), Some("sv=1&sig=abc"));
    }

    #[test]
    fn a_secret_that_is_not_there_is_told_by_its_name_alone() {
        let secret = Some(Secret::Env("POLYMETER_NO_SUCH_SECRET".to_owned()));
        let access = AzureAccess { auth: AzureAuth::Key, secret, ..AzureAccess::default() };
        let error = blob(&Url::parse("az://logs/").unwrap(), &access).unwrap_err().to_string();
        assert!(error.contains("POLYMETER_NO_SUCH_SECRET"), "{error}");
    }
}
