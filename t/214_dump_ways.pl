# Every way to move a database, and every kind of thing in it: docs/upgrading.md has the table that this test prints and holds it to.
# No way stores a fallback where no daemon answers.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use SteadyText::Kinds;
use SteadyText::Monitoring;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'wal_level = logical', "steadytext.frecency_refresh_interval = '1s'" ]);
my $silent  = SteadyText::Cluster->new(daemon => 'none');
my $source  = $cluster->{PGDATABASE};

# ---- what there is -----------------------------------------------------------------------------------------------------
$_->sql('CREATE ROLE alice LOGIN') for $cluster, $silent;
ok(SteadyText::Kinds::make($cluster), 'a call is carried out');
my @kinds = @SteadyText::Kinds::ALL;
my $look  = \&SteadyText::Kinds::look;
my %expected = map { $_ => $look->($cluster, $source, $_) } @kinds;
isnt($expected{$_}, '', "$_: there is something to move") for @kinds;
$cluster->sql('CREATE DATABASE fresh');
$cluster->sql('CREATE EXTENSION pg_steadytext CASCADE', database => 'fresh');

# ---- programs ------------------------------------------------------------------------------------------------------------
sub run {
    my ($program, $server, @arguments) = @_;
    my $output = '';
    my $good = IPC::Run::run([ SteadyText::Cluster::server_program($program), '-h', $server->{PGHOST}, '-p', $server->{PGPORT}, '-U', 'postgres', @arguments ], '<', \undef, '>&', \$output);
    return ($good, $output);
}
my $dumps = $cluster->run_dir . '/dumps';
mkdir $dumps;
my $dump = sub {
    my ($name, @how) = @_;
    my ($good, $output) = run('pg_dump', $cluster, @how, '-f', "$dumps/$name", $source);
    ok($good, "pg_dump: $name") or diag $output;
};
$dump->('plain', '-Fp');
$dump->('custom', '-Fc');
$dump->('directory', '-Fd', '-j2');
$dump->('schema', '-s');
$dump->('data', '-a');
$dump->('table', '-t', 'note');
my @own = map { ('-t', "public.steadytext_$_") } qw(config prompts prompt_versions prompt_label_moves rate_limits rate_limit_rules budgets queue cache);
$dump->('tables', '-a', @own);
my @psql = ('-X', '-q', '-v', 'ON_ERROR_STOP=1');

# A way: gets a server and a new database in it (without the extension), gives whether it went well, and what was said.
my $schema_first = sub {
    my ($server, $database, @then) = @_;
    my @done = run('psql', $server, @psql, '-f', "$dumps/schema", $database);
    return $done[0] ? run(@then) : @done;
};
my @ways = (
    [ 'pg_dump, psql'                     => sub { run('psql', $_[0], @psql, '-f', "$dumps/plain", $_[1]) } ],
    [ 'the same in one transaction (`-1`)' => sub { run('psql', $_[0], @psql, '-1', '-f', "$dumps/plain", $_[1]) } ],
    [ '`pg_dump -Fc`, pg_restore'          => sub { run('pg_restore', $_[0], '-e', '-d', $_[1], "$dumps/custom") } ],
    [ '`pg_dump -Fc`, `pg_restore -1`'     => sub { run('pg_restore', $_[0], '-1', '-d', $_[1], "$dumps/custom") } ],
    [ '`pg_dump -Fd -j2`, `pg_restore -j2`' => sub { run('pg_restore', $_[0], '-e', '-j2', '-d', $_[1], "$dumps/directory") } ],
    [ 'schema alone (`-s`)'               => sub { run('psql', $_[0], @psql, '-f', "$dumps/schema", $_[1]) } ],
    [ 'data alone (`-a`), onto the schema' => sub { $schema_first->(@_, 'psql', $_[0], @psql, '-f', "$dumps/data", $_[1]) } ],
    [ 'a single table (`-t note`), where the extension is' => sub { $_[0]->sql('CREATE EXTENSION pg_steadytext CASCADE', database => $_[1]); run('psql', $_[0], @psql, '-f', "$dumps/table", $_[1]) } ],
    [ 'the extension\'s tables by name (`-a -t steadytext_…`)' => sub { $_[0]->sql('CREATE EXTENSION pg_steadytext CASCADE', database => $_[1]); run('psql', $_[0], @psql, '-f', "$dumps/tables", $_[1]) } ],
);

# ---- cells ---------------------------------------------------------------------------------------------------------------
my %cells;
my $fallbacks = q(SELECT count(*) FROM note WHERE answer LIKE '[steadytext%');
sub cell {
    my ($server, $database, $kind) = @_;
    my $there = $look->($server, $database, $kind);
    my $fresh = $look->($cluster, 'fresh', $kind);
    return $there eq $expected{$kind} ? 'yes' : $there eq 'infinity' ? 'held' : $there eq $fresh || $there eq '' || $there eq '42P01' ? '–' : diag("$kind: $there") && 'other';
}
my $number = 0;
for my $way (@ways) {
    my ($name, $restore) = @$way;
    for my $server ($cluster, $silent) {
        my $where = $server == $silent ? ', no daemon' : '';
        my $database = 'way' . ++$number;
        $server->sql("CREATE DATABASE $database");
        my ($good, $output) = $restore->($server, $database);
        if ($server == $silent) {
            my $stored = $server->try_sql('SELECT count(*) FROM note WHERE answer IS NOT NULL', database => $database)->{out};
            is($stored || 0, 0, "$name$where: no fallback is stored");
            like($output, qr/stores its rows, so it is given no fallback/, "$name$where: it says why") unless $good;
            $cells{$name}{silent} = $good ? 'yes' : 'error';
            next;
        }
        ok($good, "$name: it goes well") or diag $output;
        $cells{$name}{$_} = cell($server, $database, $_) for @kinds;
    }
}

# ---- pg_basebackup, and pg_upgrade into a server of the same version: files are copied, nothing is computed ---------------------
my $socket = $cluster->run_dir;
sub second {
    my ($name, $port) = @_;
    my $server = bless { %$cluster, PGPORT => $port, run => "$socket/$name" }, 'SteadyText::Cluster';
    return $server;
}
sub as_server { my $output = ''; my $good = IPC::Run::run([ SteadyText::Cluster::as_server(), @_ ], '<', \undef, '>&', \$output); return ($good, $output) }
my @daemonless = ("steadytext.daemons = ''");
{
    my $name = 'pg_basebackup';
    my $copy = second('backup', SteadyText::Monitoring::free_port());
    as_server('mkdir', "$socket/backup");
    my ($good, $output) = as_server(SteadyText::Cluster::server_program('pg_basebackup'), '-h', $socket, '-p', $cluster->{PGPORT}, '-U', 'postgres', '-D', $copy->data_dir, '-X', 'stream', '-c', 'fast');
    ok($good, $name) or diag $output;
    $copy->append_conf("port = $copy->{PGPORT}", @daemonless);
    ok($copy->start, "$name: the copy starts") or diag $copy->log;
    ok($copy->poll_until('SELECT NOT pg_is_in_recovery()'), "$name: and is a server of its own");
    $cells{$name}{$_} = cell($copy, $source, $_) for @kinds;
    $cells{$name}{silent} = $copy->sql($fallbacks) eq '0' ? 'yes' : 'other';
    is($copy->sql(q(SELECT steadytext_generate('kept in the cache'))), 'kept in the cache', "$name: a cached answer answers, without a daemon");
    $copy->stop;
}

# ---- logical replication: rows are computed where they arrive ------------------------------------------------------------------
{
    my $name = 'logical replication, onto the schema';
    my $tables = 'note, indexed, ' . join ', ', map { "steadytext_$_" } qw(config prompts prompt_versions prompt_label_moves rate_limits rate_limit_rules budgets queue);
    $cluster->sql("CREATE PUBLICATION everything FOR TABLE $tables");
    for my $server ($cluster, $silent) {
        my $where = $server == $silent ? ', no daemon' : '';
        my $database = 'way' . ++$number;
        my $slot     = "slot$number";
        $server->sql("CREATE DATABASE $database");
        my ($good, $output) = run('psql', $server, @psql, '-f', "$dumps/schema", $database);
        ok($good, "$name$where: the schema") or diag $output;
        # What CREATE EXTENSION has put there is in the way of the same rows.
        $server->sql('DELETE FROM steadytext_config', database => $database);
        $cluster->sql("SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
        $server->sql("CREATE SUBSCRIPTION s$number CONNECTION 'host=$socket port=$cluster->{PGPORT} user=postgres dbname=$source' PUBLICATION everything WITH (create_slot = false, slot_name = '$slot')", database => $database);
        if ($server == $silent) {
            ok($server->wait_for(sub { $server->log =~ /stores its rows, so it is given no fallback/ }), "$name$where: the log says why") or diag $server->log;
            is($server->sql('SELECT count(*) FROM note', database => $database), 0, "$name$where: no fallback is stored");
            $cells{$name}{silent} = 'error';
        } else {
            my $late = q(SELECT string_agg(format('%s %s', srrelid::regclass, srsubstate), ', ') FROM pg_subscription_rel WHERE srsubstate <> 'r');
            ok($server->wait_for(sub { $server->sql($late, database => $database) eq '' }, 60), "$name: all rows arrive") or diag $server->sql($late, database => $database);
            $cells{$name}{$_} = cell($server, $database, $_) for @kinds;
            $cluster->sql(q(INSERT INTO note VALUES (3, 'later')));
            ok($server->wait_for(sub { $server->sql(q(SELECT answer FROM note WHERE id = 3), database => $database) eq 'later' }), "$name: a new row is computed there, too");
            $cluster->sql(q(DELETE FROM note WHERE id = 3));
            ok($server->wait_for(sub { $server->sql(q(SELECT count(*) FROM note WHERE id = 3), database => $database) eq '0' }), '  and deleted');
        }
        $server->sql("ALTER SUBSCRIPTION s$number DISABLE; ALTER SUBSCRIPTION s$number SET (slot_name = NONE); DROP SUBSCRIPTION s$number", database => $database);
        ok($cluster->poll_until("SELECT count(*) FROM pg_replication_slots WHERE active", 0), "$name$where: it ends");
        $cluster->sql(q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots));
    }
    $cluster->sql('DROP PUBLICATION everything');
}

{
    my $name = 'pg_upgrade';
    my $new  = second('upgraded', $cluster->{PGPORT});
    $cluster->sql("DROP DATABASE $_ WITH (FORCE)") for split /\n/, $cluster->sql(q(SELECT datname FROM pg_database WHERE datname LIKE 'way%'));
    my $version = `@{[ SteadyText::Cluster::server_program('postgres') ]} --version` =~ tr/0-9.//cdr;
    my $template = "$SteadyText::Cluster::ROOT/build/initdb-$version";  # devcluster's
    as_server('mkdir', "$socket/upgraded");
    system('cp', '-a', $template, $new->data_dir) == 0 or die;
    open my $settings, '<', "$socket/settings" or die $!;
    $new->append_conf(map { chomp; $_ } <$settings>);
    $cluster->stop;
    my $program = SteadyText::Cluster::server_program('pg_upgrade');
    my $bin = $program =~ s{/pg_upgrade$}{}r;
    my ($good, $output) = as_server('sh', '-c', "cd $socket/upgraded && $program -b $bin -B $bin -d " . $cluster->data_dir . ' -D ' . $new->data_dir . " -p $cluster->{PGPORT} -P $cluster->{PGPORT} -U postgres -s $socket");
    ok($good, $name) or diag $output;
    $new->append_conf(@daemonless);
    as_server('mkdir', $new->data_dir . '/pg_steadytext');
    as_server('cp', $cluster->data_dir . '/pg_steadytext/models.json', $new->data_dir . '/pg_steadytext/');
    ok($new->start, "$name: the new server starts") or diag $new->log;
    $cells{$name}{$_} = cell($new, $source, $_) for @kinds;
    $cells{$name}{silent} = $new->sql($fallbacks) eq '0' ? 'yes' : 'other';
    is($new->sql(q(SELECT steadytext_generate('kept in the cache'))), 'kept in the cache', "$name: with models.json copied, a cached answer answers without a daemon");
    $new->stop;
}

# ---- the table -----------------------------------------------------------------------------------------------------------
my $table = '| way | ' . join(' | ', @kinds, 'while no daemon answers') . " |\n|" . '---|' x (@kinds + 2) . "\n";
$table .= "| $_ | " . join(' | ', @{ $cells{$_} }{ @kinds, 'silent' }) . " |\n"
    for (map { $_->[0] } @ways), 'logical replication, onto the schema', 'pg_basebackup', 'pg_upgrade';
note $table;
open my $page, '<', "$SteadyText::Cluster::ROOT/docs/upgrading.md" or die $!;
my $text = do { local $/; <$page> };
ok(index($text, $table) >= 0, 'docs/upgrading.md has this table') or diag $table;
done_testing;
