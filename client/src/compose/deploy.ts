import {
  Preference,
  RestartPolicy,
  RestartPolicyCondition,
  ServiceSpecMode,
  UpdatePolicy,
  UpdatePolicyFailureAction,
  UpdatePolicyOrder,
} from '@gantry/proto';
import { labels } from './environment.ts';
import { deployResources } from './resources.ts';
import { duration, oneOf, ratio, text, whole } from './scalars.ts';
import { list, mapping, mustBe, type Read } from './shape.ts';
import { refusedDeployKeys } from './unsupported.ts';

/** As many as one service may have. */
export const mostReplicas = 10_000;
const week = 7 * 8.64e10;

const policyKeys = {
  parallelism: whole(0, mostReplicas),
  delay: duration(0, week),
  monitor: duration(0, week),
  max_failure_ratio: ratio,
  order: oneOf({ 'stop-first': UpdatePolicyOrder.stop_first, 'start-first': UpdatePolicyOrder.start_first }),
};
const { pause, proceed, rollback } = UpdatePolicyFailureAction;

function policy(failureActions: Readonly<Record<string, UpdatePolicyFailureAction>>): Read<UpdatePolicy> {
  const table = mapping({ ...policyKeys, failure_action: oneOf(failureActions) });
  return (value, context) => {
    const values = table(value, context)?.values;
    if (!values) return undefined;
    return UpdatePolicy.create({
      parallelism: values.parallelism ?? 1,
      delayUs: values.delay ?? 0,
      order: values.order ?? UpdatePolicyOrder.stop_first,
      failureAction: values.failure_action ?? pause,
      monitorUs: values.monitor ?? 0,
      maxFailureRatio: values.max_failure_ratio ?? 0,
    });
  };
}

const attribute = String.raw`node\.(?:name|id|hostname|os|arch|platform\.os|platform\.arch|kernel|zone|region|labels\.[A-Za-z0-9][\w./-]*)`;
const constraintForm = new RegExp(
  String.raw`^\s*${attribute}\s*(?:(?:==|!=|>=|<=|>|<)\s*[^\s=!<>].*|\s(?:not-in|in|regex|version)\s+\S.*|\s(?:not-exists|exists)\s*)$`,
);

const constraint: Read<string> = (value, context) => {
  const must = '"node.labels.disk == ssd": attribute, operator (== != > < >= <= in not-in exists not-exists version regex), value';
  const written = text(must, undefined, 1024)(value, context);
  if (written === undefined) return undefined;
  if (/^\s*(node\.role|engine\.)/.test(written)) {
    return mustBe(
      value,
      context,
      'about node.labels.<key>, node.name, node.hostname, node.os, node.arch, node.kernel, node.zone or node.region',
      'label the nodes: gantry node label',
    );
  }
  return constraintForm.test(written) ? written.trim() : mustBe(value, context, must);
};

const preferenceTable = mapping({ spread: text('a label such as node.labels.zone', /^node\.[\w./-]+$/) });
const preference: Read<Preference> = (value, context) => {
  const fields = preferenceTable(value, context);
  if (!fields) return undefined;
  return fields.values.spread === undefined
    ? mustBe(value, context, 'a mapping with spread')
    : Preference.create({ spread: fields.values.spread });
};

const conditions = { any: RestartPolicyCondition.any, 'on-failure': RestartPolicyCondition.on_failure, none: RestartPolicyCondition.none };

/** Back-off of 1 s, doubled to 5 min, forgotten after 10 min of health. */
export const standardRestart = { delayUs: 1_000_000, maxDelayUs: 300_000_000, windowUs: 600_000_000 } as const;

const restartTable = mapping({
  condition: oneOf(conditions),
  delay: duration(),
  max_attempts: whole(0, 1_000_000),
  window: duration(0, week),
});

const restartPolicy: Read<RestartPolicy> = (value, context) => {
  const values = restartTable(value, context)?.values;
  if (!values) return undefined;
  const delayUs = values.delay || standardRestart.delayUs;
  return RestartPolicy.create({
    ...standardRestart,
    condition: values.condition ?? RestartPolicyCondition.any,
    delayUs,
    maxDelayUs: Math.max(delayUs, standardRestart.maxDelayUs),
    maxAttempts: values.max_attempts ?? 0,
    windowUs: values.window || standardRestart.windowUs,
  });
};

/** `restart` of a service: no, always, unless-stopped, on-failure or on-failure:5. */
export const restart: Read<RestartPolicy> = (value, context) => {
  const must = 'no, always, unless-stopped, on-failure or on-failure:N';
  const match = /^(?:(no)|(always|unless-stopped)|on-failure(?::(\d{1,6}))?)$/.exec(text(must)(value, context) ?? '');
  if (!match) return value.kind === 'scalar' && value.text !== undefined ? mustBe(value, context, must) : undefined;
  const condition = match[1] ? RestartPolicyCondition.none : match[2] ? RestartPolicyCondition.any : RestartPolicyCondition.on_failure;
  return RestartPolicy.create({ ...standardRestart, condition, maxAttempts: Number(match[3] ?? 0) });
};

/** `deploy` */
export const deploy = mapping(
  {
    mode: oneOf({
      replicated: ServiceSpecMode.replicated,
      global: ServiceSpecMode.global,
      'replicated-job': ServiceSpecMode.replicated_job,
      'global-job': ServiceSpecMode.global_job,
    }),
    replicas: whole(0, mostReplicas),
    labels,
    resources: deployResources,
    placement: mapping({
      constraints: list(constraint, 'constraints', 32),
      preferences: list(preference, 'preferences', 8),
      max_replicas_per_node: whole(0, mostReplicas),
    }),
    update_config: policy({ pause, continue: proceed, rollback }),
    rollback_config: policy({ pause, continue: proceed }),
    restart_policy: restartPolicy,
  },
  { refused: refusedDeployKeys },
);
