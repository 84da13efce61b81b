# Least privilege: asking is for everyone, the rest is not; a role's answers are its own.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new;
$cluster->sql('CREATE ROLE plain LOGIN');
my $plain = sub { $cluster->try_sql($_[0], user => 'plain') };

is($cluster->sql(q(SELECT string_agg(c.relname || ' ' || a.privilege_type, ', ' ORDER BY c.relname)
    FROM pg_class c, LATERAL aclexplode(c.relacl) a WHERE c.relname ~ 'steadytext' AND a.grantee = 0)),
    'steadytext_progress SELECT, steadytext_rate_limit_status SELECT', 'nothing but the views of one\'s own batches and quota is granted to PUBLIC');
is($plain->(q(SELECT steadytext_generate('may I ask?')))->{out}, 'may I ask?', 'a plain role may ask');
is($plain->(q(SELECT vector_dims(steadytext_embed('may I ask?'))))->{out}, 1024, 'and embed');
is($plain->(q(SELECT steadytext_config_get('default_seed')))->{out}, 42, 'and read a setting');
is($plain->(q(SELECT steadytext_generate('from a row')))->{out}, 'from a row', 'rows of steadytext_config bind it without its reading them');

my %forbidden = (
    q(SELECT * FROM steadytext_config)                        => '42501',
    q(SELECT steadytext_config_set('default_seed', '1'))      => '42501',
    q(SELECT steadytext_daemon_stop())                        => '42501',
    q(SELECT steadytext_daemon_start())                       => '42501',
    q(SELECT * FROM steadytext_metrics())                     => '42501',
    q(SELECT * FROM steadytext_audit_log)                     => '42501',
    q(SET steadytext.daemons = 'tcp://localhost:5555')        => '55P02',
    q(SET steadytext.cache_scope = 'database')                => '42501',
    q(SET steadytext.max_prompt_bytes = 10000000)             => '42501',
    q(SHOW steadytext.daemons)                                => '42501',
    q(SHOW steadytext.embedded_model)                         => '42501',
    q(SELECT _steadytext_follow_daemon_address())             => '42501',
);
is($plain->($_)->{state}, $forbidden{$_}, "refused: $_") for sort keys %forbidden;

my $cached = q(SELECT cached FROM steadytext_generate_ex('whose answer?'));
is($cluster->sql($cached), 'f', 'asked for the first time');
is($cluster->sql($cached), 't', 'the second time it is cached');
is($plain->($cached)->{out}, 'f', "another role's cached answer is not mine");
is($plain->("$cached; $cached")->{out}, "t\nt", 'but my own is');

# Works with public off the search path and with a trojan on it.
is($cluster->sql(q(SET search_path = pg_catalog; SELECT public.steadytext_generate('x'), public.st_config_get('default_seed'))),
    'x|42', 'public need not be on the search path');
is($cluster->sql(q(CREATE SCHEMA trojan; CREATE FUNCTION trojan.steadytext_config_get(text) RETURNS text LANGUAGE sql AS 'SELECT ''owned''';
    SET search_path = trojan, public, pg_catalog; SELECT public.st_config_get('default_seed'))), 42, 'a function of the same name is not called');

done_testing;
