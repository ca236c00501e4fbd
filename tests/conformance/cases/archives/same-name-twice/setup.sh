export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
echo 1 >f && tar -cf a.tar f && echo 22 >f && tar -rf a.tar f && rm f