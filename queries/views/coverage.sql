-- What was metered against the providers' own counters (CloudWatch `AWS/Bedrock`, Azure Monitor, the usage reports of OpenAI and Anthropic): shows where logging is off, and calls around the gateway.
-- unit: calls and tokens; hour is UTC; region for Bedrock only; all_models: the counter has no model, so it stands against all calls of its account; provider_* are NULL where no counter was read; shares are metered / provider, 1 is all, NULL where the provider counted nothing; a call is one that the provider answered, failed and throttled ones stand beside it
WITH counters AS (
  SELECT
    date_trunc('hour', ts) AS hour,
    platform,
    account,
    CASE WHEN platform = 'aws.bedrock' THEN region END AS region,
    coalesce(model_name(platform, model, model, deployment), model, deployment) AS model,
    model IS NULL AND deployment IS NULL AS all_models,
    sum(total) FILTER (WHERE name = 'Invocations') AS invocations,
    -- Azure counts failures among its requests; without a status all are taken for answered.
    sum(total) FILTER (
      WHERE name = 'AzureOpenAIRequests' AND coalesce(dimensions['StatusCode'], dimensions['statuscode'], '200') < '400'
    ) AS requests_older,
    sum(total) FILTER (
      WHERE name = 'ModelRequests' AND coalesce(dimensions['StatusCode'], dimensions['statuscode'], '200') < '400'
    ) AS requests_newer,
    sum(total) FILTER (WHERE name = 'InvocationThrottles') AS throttles,
    sum(total) FILTER (WHERE name IN ('InvocationClientErrors', 'InvocationServerErrors')) AS errors,
    sum(total) FILTER (WHERE name IN ('InputTokenCount', 'CacheReadInputTokens', 'CacheWriteInputTokens')) AS bedrock_input,
    sum(total) FILTER (WHERE name = 'OutputTokenCount') AS bedrock_output,
    sum(total) FILTER (WHERE name = 'ProcessedPromptTokens') AS input_older,
    sum(total) FILTER (WHERE name = 'GeneratedTokens') AS output_older,
    -- Of Claude the newer family counts cached tokens apart.
    sum(total) FILTER (
      WHERE name IN ('InputTokens', 'cacheReadInputTokens', 'ephemeral5mInputTokens', 'ephemeral1hInputTokens')
    ) AS input_newer,
    sum(total) FILTER (WHERE name = 'OutputTokens') AS output_newer,
    -- Usage reports: OpenAI's input holds what was cached, Anthropic's comes in parts and without requests.
    sum(total) FILTER (WHERE name = 'num_model_requests') AS requests_reported,
    sum(total) FILTER (
      WHERE (platform = 'openai' AND name = 'input_tokens') OR (platform = 'anthropic' AND name IN (
        'uncached_input_tokens', 'cache_read_input_tokens', 'ephemeral_5m_input_tokens', 'ephemeral_1h_input_tokens'))
    ) AS input_reported,
    sum(total) FILTER (WHERE name = 'output_tokens') AS output_reported
  FROM provider_metrics
  WHERE name IN (
    'Invocations', 'AzureOpenAIRequests', 'ModelRequests', 'InvocationThrottles', 'InvocationClientErrors',
    'InvocationServerErrors', 'InputTokenCount', 'CacheReadInputTokens', 'CacheWriteInputTokens', 'OutputTokenCount',
    'ProcessedPromptTokens', 'GeneratedTokens', 'InputTokens', 'cacheReadInputTokens', 'ephemeral5mInputTokens',
    'ephemeral1hInputTokens', 'OutputTokens', 'num_model_requests', 'input_tokens', 'uncached_input_tokens',
    'cache_read_input_tokens', 'ephemeral_5m_input_tokens', 'ephemeral_1h_input_tokens', 'output_tokens'
  )
  GROUP BY 1, 2, 3, 4, 5, 6
),
provider AS (
  -- Both families of Azure count the same calls.
  SELECT
    hour, platform, account, region, model, all_models, throttles, errors,
    coalesce(invocations, greatest(requests_older, requests_newer), requests_reported) AS calls,
    coalesce(bedrock_input, greatest(input_older, input_newer), input_reported) AS input_tokens,
    coalesce(bedrock_output, greatest(output_older, output_newer), output_reported) AS output_tokens
  FROM counters
),
told AS (
  SELECT
    date_trunc('hour', ts) AS hour,
    platform,
    account,
    CASE WHEN platform = 'aws.bedrock' THEN region END AS region,
    coalesce(model, response_model, request_model, deployment) AS model,
    outcome = 'throttled' AS throttled,
    outcome IN ('client_error', 'server_error', 'timeout') OR coalesce(http_status, 200) >= 400 AS failed,
    input_tokens,
    output_tokens
  FROM calls
),
metered AS (
  SELECT
    hour, platform, account, region, model, FALSE AS all_models,
    count(*) FILTER (WHERE NOT throttled AND NOT failed) AS calls,
    count(*) FILTER (WHERE failed AND NOT throttled) AS failed,
    count(*) FILTER (WHERE throttled) AS throttled,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens
  FROM told
  GROUP BY 1, 2, 3, 4, 5
  UNION ALL
  SELECT
    hour, platform, account, region, NULL AS model, TRUE AS all_models,
    count(*) FILTER (WHERE NOT throttled AND NOT failed) AS calls,
    count(*) FILTER (WHERE failed AND NOT throttled) AS failed,
    count(*) FILTER (WHERE throttled) AS throttled,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens
  FROM told
  GROUP BY 1, 2, 3, 4
),
both AS (
  SELECT
    coalesce(provider.hour, metered.hour) AS hour,
    coalesce(provider.platform, metered.platform) AS platform,
    coalesce(provider.account, metered.account) AS account,
    coalesce(provider.region, metered.region) AS region,
    coalesce(provider.model, metered.model) AS model,
    coalesce(provider.all_models, metered.all_models) AS all_models,
    provider.hour IS NOT NULL AS counted,
    coalesce(metered.calls, 0) AS metered_calls,
    coalesce(metered.failed, 0) AS metered_failed,
    coalesce(metered.throttled, 0) AS metered_throttled,
    TRY_CAST(provider.calls AS BIGINT) AS provider_calls,
    TRY_CAST(provider.errors AS BIGINT) AS provider_failed,
    TRY_CAST(provider.throttles AS BIGINT) AS provider_throttled,
    coalesce(metered.input_tokens, 0) AS metered_input_tokens,
    TRY_CAST(provider.input_tokens AS BIGINT) AS provider_input_tokens,
    coalesce(metered.output_tokens, 0) AS metered_output_tokens,
    TRY_CAST(provider.output_tokens AS BIGINT) AS provider_output_tokens
  FROM provider
  FULL JOIN metered
    ON metered.hour = provider.hour
    AND metered.platform = provider.platform
    AND coalesce(metered.account, '') = coalesce(provider.account, '')
    AND coalesce(metered.region, '') = coalesce(provider.region, '')
    AND coalesce(metered.model, '') = coalesce(provider.model, '')
    AND metered.all_models = provider.all_models
)
SELECT
  hour,
  platform,
  account,
  region,
  model,
  all_models,
  metered_calls,
  provider_calls,
  metered_failed,
  provider_failed,
  metered_throttled,
  provider_throttled,
  metered_input_tokens,
  provider_input_tokens,
  metered_output_tokens,
  provider_output_tokens,
  -- Bedrock's documentation says of Invocations both that they succeeded and that they were accepted.
  CASE
    WHEN platform = 'aws.bedrock' AND provider_calls BETWEEN metered_calls AND metered_calls + metered_failed
      AND provider_calls > 0 THEN 1.0
    ELSE CAST(metered_calls AS DOUBLE) / nullif(provider_calls, 0)
  END AS calls_share,
  CAST(metered_input_tokens + metered_output_tokens AS DOUBLE)
    / nullif(coalesce(provider_input_tokens, 0) + coalesce(provider_output_tokens, 0), 0) AS tokens_share
FROM both
WHERE counted OR NOT all_models
